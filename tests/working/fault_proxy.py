"""A TCP proxy that can cut, refuse and hold: a broker's bad days, without touching the broker."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit


class FaultProxy:
    """Stands between one client and a service. `url` is what the client is given."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.accepting = True

    @property
    def url(self) -> str:
        login = self._to.netloc.rpartition("@")[0]
        return urlunsplit(self._to._replace(netloc=f"{login}@127.0.0.1:{self._port}"))

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection; new ones are welcome if `accepting`."""
        for writer in list(self._writers):
            writer.transport.abort()

    def down(self) -> None:
        """Cut, and end each new connection at once."""
        self.accepting = False
        self.cut()

    def up(self) -> None:
        self.accepting = True

    def hold(self) -> None:
        """Connections stay open and nothing flows: a stopped process, a dead switch."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        self._writers |= {writer, back}
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flowing.wait()
                target.write(data)
                await target.drain()
        except OSError:
            pass  # one side was cut: so is the other
        finally:
            target.transport.abort()
            self._writers.discard(target)
