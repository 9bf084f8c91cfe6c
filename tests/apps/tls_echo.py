"""A client of an echo service behind TLS: sends what it reads and writes what comes back: tls_echo.py PORT"""

import socket
import ssl
import sys
import threading

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
sent = sys.stdin.buffer.read()
with context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1])))) as connection:
    sender = threading.Thread(target=connection.sendall, args=(sent,))
    sender.start()
    left = len(sent)
    while left and (data := connection.recv(65536)):
        sys.stdout.buffer.write(data)
        left -= len(data)
    sender.join()
