"""A server of the standard library: python_server.py threads|forks PORT.

Each connection: the server says `peer ADDRESS PORT`, then for every request `LENGTH\\n` and LENGTH bytes it answers the
SHA-1 of the bytes in hex, a line end, and the bytes in reverse.
"""

import hashlib
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"peer %s %d\n" % (self.client_address[0].encode(), self.client_address[1]))
        for line in self.rfile:
            body = self.rfile.read(int(line))
            self.wfile.write(hashlib.sha1(body).hexdigest().encode() + b"\n")
            self.wfile.write(body[::-1])


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class Forks(socketserver.ForkingTCPServer):
    allow_reuse_address = True


with {"threads": Threads, "forks": Forks}[sys.argv[1]](("127.0.0.1", int(sys.argv[2])), Handler) as server:
    server.serve_forever()
