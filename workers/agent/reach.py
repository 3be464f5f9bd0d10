"""Whether notebooks here reach the hubs, asked from where notebooks are.

A socket stays in the network namespace in which it was made, whoever uses it: a short thread
makes one inside a notebook's, and the agent connects it. So a probe costs no container, and
meets the same routes, engine and firewall as that notebook. Without a notebook nothing is known,
and nothing is said.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from controlplane import telemetry
from controlplane.errors import GreenroomError
from controlplane.messages import KnownHub
from controlplane.model.targets import Address
from workers.agent import namespaces
from workers.agent.node import Node
from workers.agent.surroundings import Surroundings, host_and_port

CONNECT_SECONDS = 5.0
AGAIN_SECONDS = 60.0
# While something fails or nothing is known yet: a hub says hello before it listens, and is
# offered as soon as it does.
SOON_SECONDS, LATER_SECONDS = 1.0, 15.0
SOON_TIMES = 30
# A hub restarts, a packet is lost: only what fails so often in a row is out of reach.
FAILURES = 3
LONGEST_ANSWER = 4096
WITH_NETWORK = ("warming", "ready", "accepted", "serving")
TRIED_AT_ONCE = 3


class NoNotebook(Exception):
    """The notebook that was to be asked from is gone."""


class OutOfReach(Exception):
    """Why a hub does not answer."""


@dataclass(kw_only=True)
class Probe:
    """What is known of one hub at one URL."""

    url: str
    failures: int = 0
    reached: bool = False
    why: str = ""

    @property
    def cut_off(self) -> bool:
        return self.failures >= FAILURES


class Reach:
    """One node's view of the hubs. `news` is called when a hub gets in or out of reach."""

    def __init__(
        self, node: Node, surroundings: Surroundings, news: Callable[[], Awaitable[None]]
    ) -> None:
        self._node = node
        self._surroundings = surroundings
        self._news = news
        self._probes: dict[str, Probe] = {}
        self._tries = 0
        self._blind = False
        self._wake = asyncio.Event()
        self._log = structlog.get_logger("agent.reach")

    @property
    def unreachable(self) -> tuple[str, ...]:
        """The ids of hubs that notebooks here cannot reach."""
        return tuple(sorted(hub for hub, probe in self._probes.items() if probe.cut_off))

    def look(self) -> None:
        """Probe now: a hub is new, moved or came back."""
        self._tries = 0
        self._wake.set()

    async def keep_looking(self) -> None:
        """For as long as the agent lives."""
        while True:
            self._wake.clear()
            settled = await self.probe_all()
            self._tries = 0 if settled else self._tries + 1
            soon = SOON_SECONDS if self._tries < SOON_TIMES else LATER_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_SECONDS if settled else soon):
                    await self._wake.wait()

    async def probe_all(self) -> bool:
        """Every hub once; False if one fails or nothing could be tried."""
        before = self.unreachable
        known = {hub.hub for hub in self._surroundings.hubs}
        self._probes = {hub: probe for hub, probe in self._probes.items() if hub in known}
        inside = await self._namespace() if known else None
        if inside is None and not self._blind:
            # The first notebook is probed from as soon as it is there.
            self._tries = 0
        if inside is not None:
            await asyncio.gather(*(self._probe(inside, hub) for hub in self._surroundings.hubs))
        if self.unreachable != before:
            telemetry.HUBS_CUT_OFF.set(len(self.unreachable))
            with suppress(GreenroomError):  # the next heartbeat says it as well
                await self._news()
        return inside is not None and all(probe.reached for probe in self._probes.values())

    async def _probe(self, inside: str, hub: KnownHub) -> None:
        probe = self._probes.get(hub.hub)
        if probe is None or probe.url != hub.api_url:
            probe = self._probes[hub.hub] = Probe(url=hub.api_url)
        host, port = host_and_port(hub.api_url)
        addresses = await self._surroundings.look_up(host)
        why = "" if addresses else f"nobody here knows where {host or probe.url} is"
        try:
            for address in addresses:
                why = await self._ask(inside, address, port, probe)
                if not why:
                    break
        except NoNotebook:
            return
        self._settle(hub.hub, probe, why)

    async def _ask(self, inside: str, address: Address, port: int, probe: Probe) -> str:
        """Why not, or ""."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                family = socket.AF_INET if address.version == 4 else socket.AF_INET6
                end = await asyncio.to_thread(socket_inside, inside, family)
                with end:
                    await asyncio.get_running_loop().sock_connect(end, (str(address), port))
                    if not probe.reached:
                        # Once: hubs log each answer, and this is asked by every node.
                        await hear(end, probe.url)
        except TimeoutError:
            return f"{address} port {port} does not answer in {CONNECT_SECONDS:g} s"
        except OSError as error:
            return f"{address} port {port}: {error.strerror or error}"
        except OutOfReach as error:
            return f"{address} port {port}: {error}"
        return ""

    def _settle(self, hub: str, probe: Probe, why: str) -> None:
        was = probe.cut_off
        probe.reached, probe.why = not why, why
        probe.failures = probe.failures + 1 if why else 0
        if probe.cut_off and not was:
            self._log.warning("hub.unreachable", hub=hub, url=probe.url, why=why)
        elif was and not probe.cut_off:
            self._log.info("hub.reached", hub=hub, url=probe.url)

    async def _namespace(self) -> str | None:
        """The network of some notebook that runs, as a path."""
        self._blind = False
        running = (
            item.entry.container
            for item in self._node.registry
            if item.entry.phase in WITH_NETWORK and not item.retiring
        )
        for container in itertools.islice(running, TRIED_AT_ONCE):
            # Neither a busy engine nor one that names no processes is asked every second.
            self._blind = True
            try:
                seen = await self._node.engine.inspect(container)
            except GreenroomError:
                return None
            if seen is not None and seen.pid:
                return f"/proc/{seen.pid}/ns/net"
        return None


def socket_inside(namespace: str, family: int) -> socket.socket:
    """A socket of that network, to be used from here; `NoNotebook`. In a thread of its own."""
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def there() -> None:
        try:
            namespaces.enter_network(namespace)
            end = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            made.append(end)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=there, name="elsewhere", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise NoNotebook(str(failed[0]))
    return made[0]


async def hear(end: socket.socket, url: str) -> None:
    """Ask for the URL on this connection: any answer of a server that is well will do.

    Who it is, TLS included, is the notebook's to judge.
    """
    parts = urlsplit(url)
    secure = ssl._create_unverified_context() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        sock=end.dup(), ssl=secure, server_hostname=parts.hostname if secure else None
    )
    try:
        head = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        writer.write(f"{head}User-Agent: greenroom-agent\r\nConnection: close\r\n\r\n".encode())
        words = (await reader.readline())[:LONGEST_ANSWER].split()
    except ValueError:
        words = []
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise OutOfReach("what answers there is no web server")
    if int(words[1]) >= 500:
        raise OutOfReach(f"the server there answers {int(words[1])}")
