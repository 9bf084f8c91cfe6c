"""A client of an echo service behind TLS: sends what it reads and writes what comes back: tls_echo.py PORT"""

import asyncio
import ssl
import sys


async def main():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]), ssl=context)
    sent = sys.stdin.buffer.read()
    # Both ways at once, in one thread: two may not use one TLS connection.
    writer.write(sent)
    sys.stdout.buffer.write(await reader.readexactly(len(sent)))
    writer.close()
    await writer.wait_closed()


asyncio.run(main())
