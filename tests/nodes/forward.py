"""Takes connections at one address to another: `python -m tests.nodes.forward FROM TO`.

RabbitMQ listens on this machine's loopback, which no other network namespace reaches.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

CHUNK = 65_536


async def forward(listen: tuple[str, int], target: tuple[str, int]) -> None:
    """Serve for ever; either side that closes closes the other."""

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError as error:
            print(f"{target[0]}:{target[1]}: {error}", file=sys.stderr, flush=True)  # noqa: T201
            writer.close()
            return
        ways = (_copy(reader, far_writer), _copy(far_reader, writer))
        await asyncio.gather(*ways)

    server = await asyncio.start_server(joined, *listen)
    async with server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    asyncio.run(forward(_place(sys.argv[1]), _place(sys.argv[2])))
