"""A TCP proxy in front of several instances of the service, which takes turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx2

from benchmarks.serving.servers import Running


@dataclass
class Proxy:
    """A TCP proxy that hands each connection to the next instance that accepts one.

    Attributes:
        instances: The instances.
        port: Its own port.
    """

    instances: list[Running]
    port: int = 0
    _next: int = field(default=0)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the next instance; raise OSError if none accepts a connection."""
        for _ in self.instances:
            self._next += 1
            url = httpx2.URL(self.instances[self._next % len(self.instances)].url)
            with suppress(OSError):
                return await asyncio.open_connection(url.host, url.port)
        raise ConnectionError

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        try:
            upstream_reader, upstream_writer = await self.connect()
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy bytes until the source ends, and then close the target."""
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@asynccontextmanager
async def proxying(instances: list[Running]) -> AsyncIterator[Proxy]:
    """Run a proxy in front of instances."""
    proxy = Proxy(instances)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
