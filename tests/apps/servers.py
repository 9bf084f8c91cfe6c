"""Servers of Python that echo: servers.py KIND PORT DIRECTORY; `one` and `each` accept from the listener that is descriptor PORT. `wsgi` and `asgi` are applications for gunicorn and uvicorn."""

import asyncio
import multiprocessing
import os
import signal
import socket
import socketserver
import subprocess
import sys


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(50000):
            self.request.sendall(data)


class Forks(socketserver.ForkingTCPServer):
    allow_reuse_address = True


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


async def echo(reader, writer):
    while data := await reader.read(50000):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(port):
    server = await asyncio.start_server(echo, "127.0.0.1", port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: os._exit(0))
    await server.serve_forever()


def accept(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(50000):
                connection.sendall(data)


def workers(port):
    with socket.create_server(("127.0.0.1", port)) as listener:
        processes = [multiprocessing.Process(target=accept, args=(listener,), daemon=True) for _ in range(3)]
        for process in processes:
            process.start()
        # Ends the workers on the way out.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        for process in processes:
            process.join()


def one(listener):
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(50000):
            connection.sendall(data)


def each(listener):
    with Threads(None, Echo, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = listener
        server.serve_forever()


def send_files(port, path):
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection, open(path, "rb") as file:
                connection.sendfile(file)
                # Until the client has said that it is done.
                connection.recv(1)


def start_programs(port):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                subprocess.Popen(["/bin/cat"], stdin=connection, stdout=connection)


def wsgi(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def main():
    kind, port, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind in ("threads", "forks"):
        with (Threads if kind == "threads" else Forks)(("127.0.0.1", port), Echo) as server:
            server.serve_forever()
    elif kind in ("one", "each"):
        (one if kind == "one" else each)(socket.socket(fileno=port))
    elif kind == "multiprocessing":
        workers(port)
    elif kind == "sendfile":
        send_files(port, f"{directory}/file")
    elif kind == "subprocess":
        start_programs(port)
    else:
        if kind == "uvloop":
            import uvloop

            uvloop.install()
        asyncio.run(serve(port))


if __name__ == "__main__":
    main()
