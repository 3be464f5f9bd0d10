"""The agent's settings and kernel, and its Docker engine."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import socket

from controlplane.clients.docker.engine import Facts
from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.model.addresses import is_loopback
from controlplane.settings import Settings

# mount_setattr came with it.
OLDEST_KERNEL = (5, 12)
# The oldest on which this is tested.
OLDEST_ENGINE = (20, 10)
SETTINGS, KERNEL, ENGINE = "node settings", "kernel", "engine"


def judge_settings(settings: Settings, *, root: bool, unbindable: str) -> list[Finding]:
    """What the agent would refuse, or start with and regret.

    `unbindable`: why nothing can listen on node.address, or "".
    """
    found = []
    address = settings.node.address
    if address is None:
        found.append(
            fail(
                SETTINGS,
                "node.address is not set, and the agent does not start without it",
                fix="GREENROOM_NODE__ADDRESS=<where hub and proxy reach this node>",
            )
        )
    elif unbindable:
        found.append(
            fail(
                SETTINGS,
                f"no port opens on node.address {address}: {unbindable}",
                fix="set node.address to one of: ip -brief address",
            )
        )
    if not settings.keys():
        fix = "copy seal_keys from the hub, or make one for both: greenroom keys new"
        found.append(fail(SETTINGS, "seal_keys is empty: nothing sealed can be opened", fix=fix))
    if not root:
        fix = "sudo greenroom doctor; the agent needs root for mounts and the firewall"
        found.append(warn(SETTINGS, "this is not root", fix=fix))
    return found or [_settled(settings)]


def _settled(settings: Settings) -> Finding:
    node = settings.node
    seen = (
        f"{node.name} at {node.address}, ports {node.first_port}-{node.last_port}, "
        f"at most {node.max_notebooks} notebooks"
    )
    if is_loopback(f"//[{node.address}]" if ":" in str(node.address) else f"//{node.address}"):
        return warn(
            SETTINGS,
            f"{seen}: only a hub and a proxy on this very machine reach that",
            fix="if they are elsewhere, set node.address to this machine's own",
        )
    return ok(SETTINGS, seen)


def judge_kernel(release: str) -> Finding:
    """From `uname -r`."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    if numbers < OLDEST_KERNEL:
        fix = "use a kernel of 5.12 or later: mounts are made read-only in one step"
        return fail(KERNEL, f"Linux {release}", fix=fix)
    return ok(KERNEL, f"Linux {release}")


def judge_engine(facts: Facts) -> list[Finding]:
    """Version, kind, and what of it matters here."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", facts.version)[:2])
    live = "on" if facts.live_restore else "off"
    kind = "rootless" if facts.rootless else "rootful"
    seen = (
        f"Docker {facts.version}, {kind}, cgroup {facts.cgroup}, {facts.cpus} CPUs, "
        f"live-restore {live}"
    )
    if facts.rootless:
        fix = "use a rootful engine, or live with what docs/rootless.md lists"
        missing = "people's own uids on NFS, and limits on cgroup v1"
        return [warn(ENGINE, f"{seen}; missing: {missing}", fix=fix)]
    if not facts.cpu_quota:
        fix = "enable CFS bandwidth in the kernel: a pool's cpus limit nobody without it"
        return [warn(ENGINE, f"{seen}; no CPU quota", fix=fix)]
    if numbers < OLDEST_ENGINE:
        return [warn(ENGINE, seen, fix="apt-get install docker.io: tested from 20.10 on")]
    return [ok(ENGINE, seen)]


async def look(settings: Settings) -> list[Finding]:
    """Settings and kernel of this machine."""
    unbindable = await asyncio.to_thread(_unbindable, settings)
    root = os.geteuid() == 0
    return [
        *judge_settings(settings, root=root, unbindable=unbindable),
        judge_kernel(platform.release()),
    ]


def _unbindable(settings: Settings) -> str:
    address = settings.node.address
    if address is None:
        return ""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError as error:
            return error.strerror or str(error)
    return ""
