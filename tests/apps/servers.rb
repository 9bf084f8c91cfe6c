# Servers of Ruby that echo: servers.rb KIND PORT
require 'socket'

kind, port = ARGV
trap('TERM') { exit! 0 }
if kind == 'webrick'
  require 'webrick'
  server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: port.to_i, AccessLog: [])
  server.mount_proc('/') { |request, response| response.body = request.body }
  server.start
else
  listener = TCPServer.new('127.0.0.1', port.to_i)
  loop do
    Thread.new(listener.accept) do |client|
      while (data = client.readpartial(50_000))
        client.write(data)
      end
    rescue EOFError
      client.close
    end
  end
end
