"""Listens on the port that is the argument, and then starts children that print their environment, in several ways."""

import os
import socket
import subprocess
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
ways = {
    "inherited": (["env"], None),
    # A copy made when the interpreter started.
    "copied": (["env"], dict(os.environ)),
    "behind a shell": (["sh", "-c", "env"], dict(os.environ)),
}
for name, (command, environment) in ways.items():
    text = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    ours = [line for line in text.splitlines() if line.startswith(("LD_PRELOAD=", "WSWRAP_"))]
    print(f"{name}: {' '.join(sorted(ours))}", flush=True)
connection, _ = listener.accept()
connection.sendall(connection.recv(5))
sys.stdin.read()
