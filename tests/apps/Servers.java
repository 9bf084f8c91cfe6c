// Servers of Java that echo: Servers.java KIND PORT

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.concurrent.Executors;

class Servers {
    public static void main(String[] arguments) throws IOException {
        InetAddress local = InetAddress.getByName("127.0.0.1");
        int port = Integer.parseInt(arguments[1]);
        if (arguments[0].equals("http")) {
            HttpServer server = HttpServer.create(new InetSocketAddress(local, port), 50);
            server.setExecutor(Executors.newCachedThreadPool());
            server.createContext("/", exchange -> {
                byte[] body = exchange.getRequestBody().readAllBytes();
                exchange.sendResponseHeaders(200, body.length);
                exchange.getResponseBody().write(body);
                exchange.close();
            });
            server.start();
        } else {
            ServerSocket listener = new ServerSocket(port, 50, local);
            while (true) {
                Socket client = listener.accept();
                new Thread(() -> {
                    try (client) {
                        client.getInputStream().transferTo(client.getOutputStream());
                    } catch (IOException error) {
                        error.printStackTrace();
                    }
                }).start();
            }
        }
    }
}
