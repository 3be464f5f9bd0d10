"""An engine in memory that keeps the promises of `controlplane.clients.docker.engine`.

Its containers are simulated notebooks where their configuration is a notebook's; any other
configuration is a container that sleeps until somebody ends it. Published ports are really
bound, so a port of another process is a `Conflict` here as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.simulated.apart import Apart
from benchmarks.simulated.ledger import Ledger
from benchmarks.simulated.notebook import Notebook, rehearse
from controlplane.clients.docker.answers import carries
from controlplane.clients.docker.engine import Facts, Happening, Image, Listed, Seen, State
from controlplane.errors import Conflict, Refused

CHANNEL = "/run/greenroom"
KILLED = 137
# As many events as a real engine remembers.
REMEMBERED = 256


@dataclass
class Container:
    """One container, whatever it runs."""

    id: str
    name: str
    config: Mapping[str, Any]
    state: State = "created"
    exit_code: int | None = None
    notebook: Notebook | None = None
    port: socket.socket | None = None
    log: list[bytes] = field(default_factory=list)

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.config.get("Labels") or {}
        return found

    @property
    def environment(self) -> dict[str, str]:
        pairs = (line.partition("=") for line in self.config.get("Env") or ())
        return {name: value for name, _, value in pairs}

    @property
    def host(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.config.get("HostConfig") or {}
        return found


class SimulatedEngine:
    """`Engine`. `images` are the names that are on this node; the ledger is for the judge.

    `apart`: where notebooks live, when not on the agent's own event loop.
    """

    def __init__(
        self,
        images: Sequence[str] = ("simulated",),
        *,
        ledger: Ledger,
        apart: Apart | None = None,
    ) -> None:
        self._apart = apart
        self._images = {name: _image(name) for name in images}
        self._ids = {image.id for image in self._images.values()}
        self._ledger = ledger
        self._networks: dict[str, Mapping[str, str]] = {}
        self._containers: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        self._by_label: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._past: deque[Happening] = deque(maxlen=REMEMBERED)
        self._listeners: list[asyncio.Queue[Happening]] = []
        self._last_event = 0

    async def facts(self) -> Facts:
        cores = os.cpu_count() or 1
        return Facts(version="simulated", cpus=cores, cpu_quota=True, rootless=False)

    async def image(self, name: str) -> Image | None:
        return self._images.get(name)

    async def ensure_network(self, name: str, config: Mapping[str, Any]) -> None:
        found = self._networks.setdefault(name, config["Labels"])
        if not carries(found, config["Labels"]):
            raise Refused(f"a network {name} exists and is not Greenroom's")

    async def gateway(self, network: str) -> str | None:
        return "127.0.0.1" if network in self._networks else None

    async def remove_network(self, name: str) -> None:
        self._networks.pop(name, None)

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        if name in self._names:
            raise Conflict(f"the container name {name} is already in use")
        if config["Image"] not in self._images and config["Image"] not in self._ids:
            raise Refused(f"no such image: {config['Image']}")
        container = Container(id=os.urandom(32).hex(), name=name, config=config)
        _check_binds(container.host)
        self._containers[container.id] = container
        self._names[name] = container.id
        for label in container.labels.items():
            self._by_label[label].add(container.id)
        self._tell("create", container)
        return container.id

    async def start(self, container: str) -> None:
        found = self._find(container)
        if found is None:
            raise Refused(f"no such container: {container}")
        if found.state == "running":
            return
        found.port = _publish(found.host)
        found.state, found.exit_code = "running", None
        found.log.append(b"simulated: started\n")
        self._tell("start", found)
        await self._run(found)

    async def inspect(self, container: str) -> Seen | None:
        found = self._find(container)
        if found is None:
            return None
        return Seen(id=found.id, labels=found.labels, state=found.state, exit_code=found.exit_code)

    async def list(self, labels: Mapping[str, str]) -> list[Listed]:
        # The rarest label first: a retirement asks for one of ten thousand.
        sets = sorted((self._by_label.get(label, set()) for label in labels.items()), key=len)
        ids = set.intersection(*sets) if sets else set(self._containers)
        found = [self._containers[id_] for id_ in ids]
        return [Listed(id=each.id, labels=each.labels, state=each.state) for each in found]

    async def set_cpu_shares(self, container: str, shares: int) -> None:
        """Nothing here competes for a processor."""

    async def stop(self, container: str, *, seconds: int) -> None:
        found = self._find(container)
        if found is None or found.state != "running":
            return
        told = found.notebook.exit_code_when_told() if found.notebook and seconds else KILLED
        self._end(found, told)
        self._tell("stop", found)

    async def remove(self, container: str) -> None:
        found = self._find(container)
        if found is None:
            return
        if found.state == "running":
            self._end(found, KILLED)
        del self._containers[found.id], self._names[found.name]
        for label in found.labels.items():
            self._by_label[label].discard(found.id)
            if not self._by_label[label]:
                del self._by_label[label]
        self._tell("destroy", found)

    async def log_tail(self, container: str, *, lines: int) -> bytes:
        found = self._find(container)
        return b"".join(found.log[-lines:]) if found else b""

    async def events(
        self, labels: Mapping[str, str], *, since: int
    ) -> AsyncGenerator[Happening, None]:
        queue: asyncio.Queue[Happening] = asyncio.Queue()
        for past in self._past:
            if past.at >= since:
                queue.put_nowait(past)
        self._listeners.append(queue)
        try:
            while True:
                event = await queue.get()
                if carries(event.labels, labels):
                    yield event
        finally:
            self._listeners.remove(queue)

    async def close(self) -> None:
        """Containers outlive whoever talks to their engine."""

    def _find(self, container: str) -> Container | None:
        return self._containers.get(self._names.get(container, container))

    async def _run(self, container: Container) -> None:
        binds = {m["Target"]: m["Source"] for m in container.host.get("Mounts") or ()}
        environment = container.environment
        if CHANNEL not in binds or "GREENROOM_NOTEBOOK" not in environment:
            return
        run = Path(binds[CHANNEL])
        if environment.get("GREENROOM_REHEARSAL"):
            rehearse(run)
            return self._end(container, 0)
        container.notebook = Notebook(
            environment["GREENROOM_NOTEBOOK"],
            run=run,
            port=container.port,
            ledger=self._ledger,
            ended=self._when_it_ends(container),
        )
        warming = container.notebook.warm()
        await (self._apart.do(warming) if self._apart else warming)

    def _when_it_ends(self, container: Container) -> Callable[[int], None]:
        clock = asyncio.get_running_loop()
        if self._apart is None:
            return lambda code: self._end(container, code)

        def end(code: int) -> None:
            clock.call_soon_threadsafe(self._end, container, code)

        return end

    def _end(self, container: Container, code: int) -> None:
        if container.notebook is not None:
            close = container.notebook.close
            self._apart.call(close) if self._apart else close()
        elif container.port is not None:
            container.port.close()
        container.notebook = container.port = None
        container.state, container.exit_code = "exited", code
        container.log.append(f"simulated: ended with {code}\n".encode())
        self._tell("die", container)

    def _tell(self, action: str, container: Container) -> None:
        self._last_event = max(self._last_event + 1, time.time_ns())
        event = Happening(
            action=action, container=container.id, labels=container.labels, at=self._last_event
        )
        self._past.append(event)
        for listener in self._listeners:
            listener.put_nowait(event)


def _image(name: str) -> Image:
    return Image(
        id=f"sha256:{hashlib.sha256(name.encode()).hexdigest()}", user="1000", directory="/"
    )


def _check_binds(host: Mapping[str, Any]) -> None:
    for mount in host.get("Mounts") or ():
        if mount["Type"] == "bind" and not os.path.exists(mount["Source"]):
            raise Refused(f"bind source path does not exist: {mount['Source']}")


def _publish(host: Mapping[str, Any]) -> socket.socket | None:
    """The published port, bound; `Conflict` where another process has it."""
    for bindings in (host.get("PortBindings") or {}).values():
        address, number = bindings[0]["HostIp"], int(bindings[0]["HostPort"])
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        port = socket.socket(family, socket.SOCK_STREAM)
        port.setblocking(False)
        # Without SO_REUSEADDR: with it, two that do not listen yet could have the same port.
        try:
            port.bind((address, number))
        except OSError as error:
            port.close()
            raise Conflict(f"port {number} of {address}: {error.strerror}") from None
        return port
    return None
