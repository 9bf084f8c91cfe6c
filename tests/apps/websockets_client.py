# A client on the package websockets: websockets_client.py URL PROTOCOLS WHAT, PROTOCOLS being the subprotocols to offer, with
# commas, or "-". SSL_CERT_FILE names the authority for wss, CLIENT_ADDRESS where to connect from. It prints the subprotocol that it
# got, and WHAT is to be done:
#   echo   sends text, bytes and a ping to a server that echoes, checks what comes back, and closes with code 4321
#   get    sends a request of HTTP/1.0 and prints what comes until the end
#   end    prints what comes until the end
# The last line is the code of the server's Close and what was lost with it.
import asyncio
import base64
import os
import sys

import websockets

url, protocols, what = sys.argv[1:]
address = os.environ.get("CLIENT_ADDRESS")
options = {"local_addr": (address, 0)} if address else {}
if protocols != "-":
    options["subprotocols"] = protocols.split(",")


async def main():
    async with websockets.connect(url, **options) as socket:
        print(socket.subprotocol, flush=True)
        encoded = socket.subprotocol == "base64"

        async def send(data):
            await socket.send(base64.b64encode(data).decode() if encoded else data)

        async def receive():
            message = await socket.recv()
            # The type of the frames says what is in them.
            assert isinstance(message, str) == encoded, type(message)
            return base64.b64decode(message, validate=True) if encoded else message

        async def expect(data):
            got = bytearray()
            while len(got) < len(data):
                got += await receive()
            assert got == data, "other bytes"

        if what == "echo":
            if not encoded:
                await socket.send("grüße")
                await expect("grüße".encode())
            for size in (0, 1, 125, 126, 65535, 65536, 3 << 20):
                data = os.urandom(size)
                # In fragments of one message, and in messages of their own.
                await asyncio.gather(expect(data), send(data))
            if not encoded:
                pieces = [os.urandom(5000) for _ in range(20)]
                await asyncio.gather(expect(b"".join(pieces)), socket.send(pieces))
            await asyncio.wait_for(await socket.ping(b"are you there?"), 20)
            await socket.close(4321, "enough")
        else:
            if what == "get":
                await send(b"GET / HTTP/1.0\r\n\r\n")
            try:
                while True:
                    sys.stdout.write((await receive()).decode())
            except websockets.ConnectionClosed:
                print()
        print(socket.close_code, flush=True)


asyncio.run(main())
