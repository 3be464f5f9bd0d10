"""What every part of one agent works with: its engine, its disk, what it holds, its limits."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from controlplane.clients.docker import Engine
from controlplane.errors import BadSettings
from controlplane.seal import Seal
from controlplane.settings import Settings
from workers.agent import inside
from workers.agent.dead import Dead
from workers.agent.homes import Homes
from workers.agent.journal import Journal
from workers.agent.ports import Ports
from workers.agent.recipe import Place, labels
from workers.agent.registry import Registry
from workers.agent.reports import Reports, Tasks
from workers.agent.roots import Roots
from workers.agent.slots import Slots
from workers.agent.threads import Threads
from workers.agent.turns import Turns


@dataclass(frozen=True, kw_only=True)
class Node:
    """One agent's tools. `creates` and `turns` are first come, first served."""

    settings: Settings
    engine: Engine
    place: Place
    seal: Seal
    state_dir: Path
    registry: Registry
    journal: Journal
    slots: Slots
    homes: Homes
    roots: Roots
    dead: Dead
    ports: Ports
    threads: Threads
    reports: Reports
    tasks: Tasks
    creates: asyncio.Semaphore
    turns: Turns

    def url(self, port: int) -> str:
        """Where hub and proxy reach a notebook."""
        host = self.place.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def labels(self) -> dict[str, str]:
        """What is ours carries all of these."""
        return labels(self.place)


def address_of(settings: Settings) -> str:
    """The one address on which ports open, or `BadSettings`."""
    address = settings.node.address
    if address is None:
        raise BadSettings(
            "node.address is not set: give the address at which hub and proxy reach this "
            "node's notebooks (GREENROOM_NODE__ADDRESS); ports open only there"
        )
    if ipaddress.ip_address(str(address)).is_unspecified:
        raise BadSettings(
            f"node.address = {address}: that is every address of this node, and its notebooks "
            "would be open to all of them: give the one that hub and proxy use"
        )
    return str(address)


def network_name(settings: Settings) -> str:
    """The notebooks' own network on this node."""
    return f"{settings.installation}-{settings.node.name}"


def package_folder() -> Path:
    """The folder that notebooks see at /greenroom."""
    return inside.folder()


def activations_of(settings: Settings) -> int:
    """How many activations share this node's cores at once."""
    return settings.node.activations or len(os.sched_getaffinity(0))


def bridge_name(network: str) -> str:
    """The bridge's name on the host, at most 15 characters: what firewall rules match."""
    return "gr-" + hashlib.sha256(network.encode()).hexdigest()[:10]
