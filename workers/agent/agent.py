"""One agent: put together, started on what is already here, and kept going."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import uuid4

import structlog

from controlplane import failpoints, telemetry
from controlplane.clients.docker import Engine
from controlplane.errors import Retry
from controlplane.messages import NodeHeartbeat, NodeHello, NodeSurroundings, RetireNotebook
from controlplane.seal import Seal
from controlplane.settings import Settings
from workers.agent import epoch, inventory, recipe
from workers.agent.activation import Activations
from workers.agent.dead import Dead
from workers.agent.desk import Desk
from workers.agent.firewall import Firewall
from workers.agent.homes import Homes
from workers.agent.journal import Journal
from workers.agent.node import (
    Node,
    activations_of,
    address_of,
    bridge_name,
    network_name,
    package_folder,
)
from workers.agent.ports import Ports
from workers.agent.reach import Reach
from workers.agent.recipe import Place
from workers.agent.registry import Item, Registry
from workers.agent.rehearsal import Rehearsals
from workers.agent.reports import Publish, Reports, Tasks
from workers.agent.retirement import Retirements
from workers.agent.roots import Roots
from workers.agent.slots import Slots
from workers.agent.surroundings import LOOK_UP_EVERY_SECONDS, Surroundings
from workers.agent.threads import Threads
from workers.agent.turns import Turns
from workers.agent.warmup import Warmups
from workers.agent.watch import Watch

LONGEST_PAUSE_SECONDS = 5.0


class Agent:
    """Everything of one node, with its state directory locked. Use `open` and `close`."""

    def __init__(self, settings: Settings, engine: Engine, publish: Publish, tasks: Tasks) -> None:
        address = address_of(settings)
        folder = settings.node_state_dir.absolute()
        seal = Seal(settings.keys())
        self._lock = epoch.lock(folder)
        stamp = epoch.Stamp(settings.node.name, epoch.next_epoch(folder, time.time()))
        failpoints.reach("agent.epoch.made")
        place = Place(
            installation=settings.installation,
            node=settings.node.name,
            address=address,
            network=network_name(settings),
            package=package_folder(),
        )
        self.node = _node(settings, engine, place, seal, Reports(stamp, publish, tasks), tasks)
        self._rehearsals = Rehearsals(self.node)
        self._retirements = Retirements(self.node)
        self._activations = Activations(self.node, self.let_through)
        self.watch = Watch(self.node)
        self.firewall = Firewall(settings.node.firewall)
        self.surroundings = Surroundings(
            folder, settings, bridge=bridge_name(place.network), address=address
        )
        self.desk = Desk(
            self.node,
            warmups=Warmups(self.node, self._rehearsals),
            activations=self._activations,
            retirements=self._retirements,
            watch=self.watch,
            look_around=self.look_around,
        )
        self.reach = Reach(self.node, self.surroundings, self.send_heartbeat)
        self._log = structlog.get_logger("agent")

    async def open(self) -> None:
        """Wait for the engine, adopt everything, and watch from then on."""
        await self._reach_engine()
        node = self.node
        self.surroundings.open()
        await self.firewall.open(await self.surroundings.policy())
        node.journal.open()
        node.slots.open()
        entries, unreadable = await node.threads.disk(node.journal.load)
        for file in unreadable:
            self._log.error("journal.unreadable", file=str(file))
        for entry in entries:
            node.registry.adopt(entry)
        node.ports.hold(entry.port for entry in entries)
        await self._rehearsals.sweep()
        await self.watch.look()
        self._sweep_slots()
        for item in node.registry:
            await self._adopt(item)
        failpoints.reach("agent.adopted")
        self._log.info("agent.opened", epoch=node.reports.epoch, notebooks=len(node.registry))
        node.tasks.create_task(self.watch.follow(), name="engine's stream")
        node.tasks.create_task(self.watch.keep_looking(), name="engine's list")
        node.tasks.create_task(self.firewall.keep_looking(), name="firewall")
        node.tasks.create_task(self._keep_looking_around(), name="surroundings")
        node.tasks.create_task(self.reach.keep_looking(), name="probes of hubs")
        node.tasks.create_task(node.roots.keep_looking(), name="roots in trouble")

    def close(self) -> None:
        """Let go of the state directory. Containers and mounts stay as they are."""
        self.node.threads.close()
        epoch.unlock(self._lock)

    async def say_hello(self) -> None:
        """Report the node and all that it holds. `Retry` if the broker does not take it."""
        hello = {
            "address": self.node.place.address,
            "max_notebooks": self.node.settings.node.max_notebooks,
            "version": _version(),
        }
        stamp = self.node.reports.stamp()
        await self.node.reports.send(NodeHello.model_validate({**stamp, **hello}))
        await self.send_inventory()

    async def send_heartbeat(self) -> None:
        """Report that the node lives, and whether its engine answers."""
        well = self.watch.answering and self.firewall.may_offer
        engine = "ok" if well else "failing"
        stamp = self.node.reports.stamp()
        about = {"engine": engine, "unreachable_hubs": self.reach.unreachable}
        await self.node.reports.send(NodeHeartbeat.model_validate({**stamp, **about}))

    async def send_inventory(self) -> None:
        """Look at the engine, then report everything that this node holds."""
        # Before the look: a newer report must win over what this one is about to see.
        stamp = self.node.reports.stamp()
        complete = await self.watch.look()
        held = [inventory.held(item.entry, self.node.url) for item in self.node.registry]
        strangers = self.watch.strangers.items()
        held += [inventory.stranger(name, line) for name, line in strangers]
        for state, count in inventory.counts(held).items():
            telemetry.HELD.labels(state=state).set(count)
        for part in inventory.parts(held, stamp, inventory=uuid4().hex, complete=complete):
            await self.node.reports.send(part)

    async def look_around(self, told: NodeSurroundings) -> None:
        """Hubs, nodes or the control plane are where they were not before."""
        new = self.surroundings.take(told)
        if new:
            await self.firewall.change(await self.surroundings.policy())
        if new or self.reach.unreachable:
            self.reach.look()

    async def let_through(self, api_url: str) -> None:
        """A lease's hub is at this URL; nothing to do where that is known, as nearly always."""
        if self.surroundings.meet(api_url):
            await self.firewall.change(await self.surroundings.policy())

    async def _keep_looking_around(self) -> None:
        """Names may lead elsewhere by now, and servers of DNS change."""
        while True:
            await asyncio.sleep(LOOK_UP_EVERY_SECONDS)
            await self.firewall.change(await self.surroundings.policy())

    async def _reach_engine(self) -> None:
        pause = 0.5
        while True:
            try:
                network = recipe.network(self.node.place, bridge_name(self.node.place.network))
                await self.node.engine.ensure_network(self.node.place.network, network)
                facts = await self.node.engine.facts()
                self.surroundings.rootless = facts.rootless
                return
            except Retry as error:
                self._log.warning("engine.silent", error=str(error))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _sweep_slots(self) -> None:
        """Slots of nobody: a crash came between the container's removal and the slot's."""
        for name in self.node.slots.names():
            if self.node.registry.get(name) is None and name not in self.watch.strangers:
                self.node.slots.remove(name)

    async def _adopt(self, item: Item) -> None:
        entry = item.entry
        match entry.phase:
            case "creating" | "warming":
                self.desk.warm(item)
            case "accepted":
                if entry.run and not (entry.run.refused or entry.run.failed):
                    await self._activations.resume(item)
            case "removing":
                order = {"notebook": entry.notebook, "epoch": self.node.reports.epoch}
                self._retirements.start(RetireNotebook.model_validate(order))
            case "failed" | "exited":
                item.ended.set()
            case "ready" | "serving":
                pass


def _node(
    settings: Settings, engine: Engine, place: Place, seal: Seal, reports: Reports, tasks: Tasks
) -> Node:
    folder = settings.node_state_dir.absolute()
    threads = Threads()
    journal = Journal(folder / "journal")
    first, last = settings.node.first_port, settings.node.last_port
    start = first + reports.epoch % (last - first + 1)
    return Node(
        settings=settings,
        engine=engine,
        place=place,
        seal=seal,
        state_dir=Path(folder),
        registry=Registry(journal, threads),
        journal=journal,
        slots=Slots(folder / "slots"),
        homes=Homes(folder / "owners"),
        roots=Roots(),
        dead=Dead(folder / "dead"),
        ports=Ports(first, last, start=start),
        threads=threads,
        reports=reports,
        tasks=tasks,
        creates=asyncio.Semaphore(settings.node.creates),
        turns=Turns(activations_of(settings)),
    )


def _version() -> str:
    try:
        return version("greenroom")
    except PackageNotFoundError:
        return ""
