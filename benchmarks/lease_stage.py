"""Where leases are measured: private services, real workers, simulated nodes, all as processes.

Everything is below `.greenroom/bench/leases`, fresh for each size, and stopped by pid.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulated.__main__ import FIRST_PORT, IMAGE, LAST_PORT
from controlplane.clients.postgres import Postgres
from scripts.stack import commands, demo, packages, processes, services, venv
from scripts.stack.places import CHECKOUT, Place
from scripts.stack.processes import Program
from scripts.stack.screen import Trouble
from scripts.stack.services import Urls

PLACE = Place(directory=CHECKOUT / ".greenroom" / "bench" / "leases")
POOL = "bench"
SERVICES = ("postgres", "redis", "rabbitmq")
REFILL = "refill"
# In refill's place where nothing is to be created.
RESTING = "resting"
WARM_SECONDS = 3600
MOST_ON_A_NODE = 5000
POOLS = """[[pools]]
name = "{pool}"
warm = {warm}
max_age_seconds = 864000

[pools.container]
image = "{image}"

[pools.container.storage]
root = "{homes}"
create_missing = true
"""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is measured: `ready` notebooks on `nodes` nodes, workers and agents as processes."""

    nodes: int
    ready: int
    workers: int = 1
    agents: int = 1

    def check(self) -> None:
        """`Trouble` for what no node could hold."""
        if self.ready > MOST_ON_A_NODE * self.nodes:
            raise Trouble(
                f"{self.ready} notebooks on {self.nodes} nodes: a node holds at most "
                f"{MOST_ON_A_NODE} (node.max_notebooks): give --nodes more"
            )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One size, running."""

    size: Size
    urls: Urls

    @property
    def installation(self) -> str:
        return "bench"

    @property
    def seal_key(self) -> str:
        return demo.secret(PLACE, "seal-key")

    @property
    def ledgers(self) -> list[Path]:
        """What the notebooks wrote."""
        return sorted(PLACE.directory.glob("ledger-*.jsonl"))

    def pids(self) -> dict[str, int]:
        """Every process whose CPU time is part of a lease, and the one that asks."""
        found = {}
        names = [*SERVICES, *(program.name for program in self.programs())]
        for name in names:
            if name == REFILL and processes.known(PLACE, name) is None:
                name = RESTING
            running = processes.known(PLACE, name)
            if running is None or not running.alive:
                raise Trouble(f"{name} is not running", log=PLACE.log / f"{name}.log")
            found[name] = running.pid
        return {**found, "load": os.getpid()}

    def programs(self) -> list[Program]:
        leases = (f"lease-{number + 1}" for number in range(self.size.workers))
        names = [*leases, REFILL, "liveness", "suspect"]
        return [*self._agents(), *(self._worker(name) for name in names)]

    def settings(self) -> dict[str, str]:
        """What every process reads."""
        share = -(-self.size.ready // self.size.nodes)
        return {
            **self.urls.environment(),
            "GREENROOM_INSTALLATION": self.installation,
            "GREENROOM_SEAL_KEYS": self.seal_key,
            "GREENROOM_NODE__ADDRESS": "127.0.0.1",
            "GREENROOM_NODE__STATE_DIR": str(PLACE.directory / "agents"),
            # Room for what is leased or on its way out, beside what is ready.
            "GREENROOM_NODE__MAX_NOTEBOOKS": str(min(2 * share + 500, MOST_ON_A_NODE)),
            "GREENROOM_NODE__FIRST_PORT": str(FIRST_PORT),
            "GREENROOM_NODE__LAST_PORT": str(LAST_PORT),
            "GREENROOM_NODE__CREATES": "8",
        }

    def stop_refill(self) -> None:
        """From here on nothing new is created."""
        processes.stop(PLACE, REFILL)
        command = (str(venv.MAIN.python), "-m", "benchmarks.simulated.resting")
        resting = Program(name=RESTING, command=command, environment=self.settings())
        processes.start(resting, PLACE)

    def start_refill(self) -> None:
        """Again, unless it runs."""
        if processes.known(PLACE, RESTING) is not None:
            processes.stop(PLACE, RESTING)
        processes.start(self._worker(REFILL), PLACE)

    async def postgres(self) -> Postgres:
        return await Postgres.connect(self.urls.postgres, size=1, timeout_seconds=120)

    async def until_ready(self) -> None:
        """Return when the pool is at its target and nothing is on its way in or out."""

        def full(counts: Mapping[str, int]) -> bool:
            moving = ("creating", "warming", "retiring", "leased")
            return counts.get("ready", 0) >= self.size.ready and not _sum(counts, moving)

        await self._until(full)

    async def until_left(self) -> None:
        """Return when nobody holds a notebook and none is on its way out."""
        await self._until(lambda counts: not _sum(counts, ("leased", "retiring")))

    async def _until(self, true: Callable[[Mapping[str, int]], bool]) -> None:
        postgres = await self.postgres()
        try:
            async with asyncio.timeout(WARM_SECONDS):
                # The truth has no event for somebody who is no worker.
                while not true((await postgres.notebooks.counts()).get(POOL, {})):
                    # Nobody waits an hour for a process that is dead.
                    self.pids()
                    await asyncio.sleep(0.5)
        finally:
            await postgres.close()

    def _worker(self, name: str) -> Program:
        command = (str(venv.MAIN.python), "-m", "workers", name.partition("-")[0])
        return Program(name=name, command=command, environment=self.settings(), stop_seconds=30)

    def _agents(self) -> list[Program]:
        first, programs = 1, []
        for number in range(self.size.agents):
            last = (number + 1) * self.size.nodes // self.size.agents
            ledger = PLACE.directory / f"ledger-{number + 1}.jsonl"
            command = (
                *own_mounts(), str(venv.MAIN.python), "-m", "benchmarks.simulated",
                "--first", str(first), "--last", str(last), "--ledger", str(ledger),
            )  # fmt: skip
            name = f"agents-{number + 1}"
            programs.append(Program(name=name, command=command, environment=self.settings()))
            first = last + 1
        return programs


def _sum(counts: Mapping[str, int], phases: Iterable[str]) -> int:
    return sum(counts.get(phase, 0) for phase in phases)


def start(size: Size) -> Stage:
    """Fresh services, the schema, one pool, and every process; `Stage.until_ready` waits."""
    if missing := packages.missing(packages.SERVICES):
        names = ", ".join(need.what for need in missing)
        raise Trouble(f"{names}: not installed", advice="scripts/up installs what is missing.")
    stop()
    _wipe()
    PLACE.make()
    stage = Stage(size=size, urls=services.start(PLACE.directory))
    pools = PLACE.directory / "pools.toml"
    homes = PLACE.directory / "homes"
    homes.mkdir(exist_ok=True)
    pools.write_text(POOLS.format(pool=POOL, warm=size.ready, image=IMAGE, homes=homes))
    for words in (("db", "upgrade"), ("topology", "apply"), ("pools", "apply", "-f", str(pools))):
        commands.run(
            [venv.MAIN.program("greenroom"), *words],
            log=PLACE.log / "greenroom.log", environment=stage.settings(), timeout_seconds=120,
        )  # fmt: skip
    for program in stage.programs():
        processes.start(program, PLACE)
    return stage


def stop() -> None:
    """Every process that a run started, by its pid."""
    for name in reversed(processes.names(PLACE)):
        if name not in services.PRIVATE:
            processes.stop(PLACE, name)
    services.stop(PLACE.directory)


def _wipe() -> None:
    """Data of the size before: each begins with nothing."""
    services.wipe(PLACE.directory)
    for name in ("agents", "homes"):
        shutil.rmtree(PLACE.directory / name, ignore_errors=True)
    for file in PLACE.directory.glob("ledger-*.jsonl"):
        file.unlink()


def own_mounts() -> tuple[str, ...]:
    """Thousands of mounts that nobody else sees, and that go with the process."""
    of_user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return ("unshare", *of_user, "--mount", "--propagation", "private")
