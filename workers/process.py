"""One worker process: lanes, ticks and tasks together, and how they start, stop and die.

It stops on SIGTERM and SIGINT: stop reading, let handlers finish, close. If one of its tasks
dies it stops with exit code 1: whatever restarts it (systemd, compose) sees that.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter

import structlog

from controlplane import telemetry
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.rabbitmq.faults import Backoff
from controlplane.errors import GreenroomError, Retry
from controlplane.settings import Settings
from workers.door import Door
from workers.loop import Lane, Reader
from workers.watchdog import Watchdog

DRAIN_SECONDS = 10.0
CANARY_EVERY_SECONDS = 5.0
DEAF_SECONDS = 15.0

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Something done again and again. `Retry` and `Terminal` are logged, anything else stops
    the process; a call is given up after `seconds`."""

    name: str
    every_seconds: float
    call: Callable[[], Awaitable[None]]
    seconds: float = 30


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something that runs until the process stops. If it ends before, the process dies."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that one process does. `ready` says whether it can do its job now, for /healthz."""

    lanes: Sequence[Lane] = ()
    ticks: Sequence[Tick] = ()
    tasks: Sequence[Task] = ()
    ready: Callable[[], bool] = lambda: True


class Stopped(Exception):
    """Somebody asked the process to stop."""


class Deaf(Exception):
    """Connected to the broker, and nothing comes."""


async def run(name: str, settings: Settings, broker: Broker, work: Work) -> None:
    """Work until told to stop. Raises what made it die. Closing `broker` is the caller's."""
    process = Process(name, settings, broker, work)
    await process.run()


class Process:
    """What `run` runs."""

    def __init__(self, name: str, settings: Settings, broker: Broker, work: Work) -> None:
        self._name = name
        self._settings = settings
        self._broker = broker
        self._work = work
        self._readers = [Reader(broker, lane) for lane in work.lanes]
        self._declared = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until told to stop; see the module."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._stop.set)
        watchdog = Watchdog()
        door = await Door.open(
            self._settings.http_host, self._settings.http_port, health=self.health
        )
        log.info("process.listening", name=self._name, host=door.host, port=door.port)
        try:
            await self._live()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
            await door.close()
            watchdog.stop()
        log.info("process.stopped", name=self._name)

    def health(self) -> dict[str, object]:
        """What /healthz says: JSON values. `ready` is False while it cannot do its job."""
        connected = self._broker.connected.is_set()
        reading = all(reader.state != "waiting" for reader in self._readers)
        return {
            "name": self._name,
            "ready": connected and reading and self._declared.is_set() and self._work.ready(),
            "broker": "connected" if connected else self._broker.trouble,
            "lanes": {reader.lane.queue: reader.state for reader in self._readers},
        }

    async def _live(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(), name="lanes")
                group.create_task(self._listen(), name="canary")
                group.create_task(self._watch(), name="broker")
                for tick in self._work.ticks:
                    group.create_task(self._repeat(tick), name=f"tick {tick.name}")
                for task in self._work.tasks:
                    group.create_task(_never_ends(task), name=f"task {task.name}")
                group.create_task(self._drain_when_told(), name="stop")
        except* Stopped:
            pass

    async def _read(self) -> None:
        """Declare what is shared and start the lanes, whenever the broker is there."""
        backoff = Backoff()
        while not (self._declared.is_set() or _told_to_end()):
            await self._broker.connected.wait()
            try:
                await self._broker.declare()
            except Retry as error:
                log.warning("topology.not_declared", error=str(error))
                await asyncio.sleep(backoff.next())
            else:
                self._declared.set()
        for reader in self._readers:
            await reader.start()
        log.info("process.reading", name=self._name, lanes=[r.lane.queue for r in self._readers])

    async def _drain_when_told(self) -> None:
        await self._stop.wait()
        log.info("process.draining", name=self._name)
        drained = await asyncio.gather(*(reader.drain(DRAIN_SECONDS) for reader in self._readers))
        if not all(drained):
            log.warning("process.left_in_hand", name=self._name)
        raise Stopped

    async def _watch(self) -> None:
        await asyncio.shield(self._broker.died)

    async def _listen(self) -> None:
        """A canary: connected and deaf for long is a reason to die, not connected is none."""
        heard, generation = monotonic(), -1
        while not _told_to_end():
            await self._broker.connected.wait()
            if generation != self._broker.generation:
                heard, generation = monotonic(), self._broker.generation
            try:
                await self._broker.check()
                heard = monotonic()
            except Retry as error:
                log.warning("canary.silent", error=str(error), since_seconds=monotonic() - heard)
            telemetry.CANARY_AGE.set(monotonic() - heard)
            same = self._broker.connected.is_set() and generation == self._broker.generation
            if same and monotonic() - heard > DEAF_SECONDS:
                raise Deaf(f"no canary for {DEAF_SECONDS:g} s on a connection that is up")
            await asyncio.sleep(CANARY_EVERY_SECONDS)

    async def _repeat(self, tick: Tick) -> None:
        await self._declared.wait()
        trouble, backoff = "", Backoff()
        while not _told_to_end():
            started = perf_counter()
            met = await _call(tick)
            took = perf_counter() - started
            telemetry.ticked(tick.name, "failed" if met else "done", took)
            if met != trouble:  # once for each change: a tick may run twice a second
                _tell(tick, met)
                trouble = met
            if not met:
                backoff.reset()
            # A tick that waits inside its call must not spin while that fails at once.
            least = backoff.next() if met else 0.0
            await asyncio.sleep(max(least, tick.every_seconds - took))


def _told_to_end() -> bool:
    """Whether this task was cancelled. A driver that answers a cancellation with an error of its
    own, which we take for trouble, swallows it: without this question nothing would drain."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _call(tick: Tick) -> str:
    """What went wrong, in words; empty when nothing did."""
    try:
        async with asyncio.timeout(tick.seconds):
            await tick.call()
    except GreenroomError as error:
        return str(error)
    except TimeoutError:
        return f"it took more than {tick.seconds:g} s"
    return ""


def _tell(tick: Tick, met: str) -> None:
    if met:
        log.warning("tick.failed", tick=tick.name, error=met)
    else:
        log.info("tick.recovered", tick=tick.name)


async def _never_ends(task: Task) -> None:
    await task.run()
    raise RuntimeError(f"the task {task.name} ended, and it must not")
