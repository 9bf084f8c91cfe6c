"""Sends a file to each client with socket.sendfile: python_sendfile.py FILE PORT.

A client says `OFFSET COUNT\\n` and gets that part of the file; an empty line ends the connection.
"""

import socket
import sys
import threading


def serve(connection, path):
    with connection, connection.makefile("rb") as requests, open(path, "rb") as file:
        for line in requests:
            if not line.strip():
                return
            offset, count = map(int, line.split())
            sent = connection._sendfile_use_sendfile(file, offset, count)
            if sent != count or file.tell() != offset + count:
                raise SystemExit(f"{sent} of {count} bytes, at {file.tell()}")


with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as listener:
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0], sys.argv[1]), daemon=True).start()
