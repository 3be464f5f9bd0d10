"""From a pool's specification to the engine's JSON. Pure.

What is fixed here an admin cannot loosen: capabilities, privileges, network, limits. A
specification that reaches for the node itself is refused, whoever sent it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from controlplane.clients.docker.engine import Image
from controlplane.errors import Refused
from controlplane.model.pool import ContainerSpec, MiB

PORT = 8888
COMMAND = ("/bin/sh", "/greenroom/entry.sh")
# Warming loses to every notebook that somebody uses, and is not starved by it: at 32 shares two
# busy kernels on two cores make a warm-up take over a minute, and somebody may wait for it.
WARMING_SHARES, READY_SHARES = 256, 1024
SCRATCH = "/scratch"
STOCK = "jupyterhub-singleuser"
IMAGE_NAME = "JUPYTER_IMAGE_SPEC"
# SETPCAP empties the bounding set; the first process gives it up before anything else runs.
BECOMING = ("SETUID", "SETGID", "SETPCAP")

# A bind of one of these, or of anything above it, hands over the node.
_NODE_ITSELF = ("/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/run", "/var/lib")
_OFTEN_DATA_BELOW = ("/root", "/var/lib")
_OURS = ("/greenroom", "/run/greenroom")


class SpecRefused(Refused):
    """The specification asks for what no notebook gets."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What of this node goes into every container."""

    installation: str
    node: str
    address: str
    network: str
    package: Path


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """Which notebook, where its slot is and on which port it will be."""

    notebook: str
    pool: str
    revision: int
    port: int
    run: Path
    home: Path


def labels(place: Place) -> dict[str, str]:
    """What everything of ours carries; nothing without both is ever touched."""
    return {"greenroom.installation": place.installation, "greenroom.node": place.node}


def container_name(place: Place, notebook: str) -> str:
    """Names resolve inside the notebooks' network, so no name says anything of a person."""
    return f"{place.installation}-{notebook}"


def warm(place: Place, spec: ContainerSpec, image: Image, notebook: Notebook) -> dict[str, Any]:
    """The container of a notebook."""
    host = _host(spec) | {
        "NetworkMode": place.network,
        "PortBindings": {
            f"{PORT}/tcp": [{"HostIp": place.address, "HostPort": str(notebook.port)}]
        },
        "Mounts": [
            *_channel(place, notebook.run),
            *_home(spec, notebook.home),
            *_others(spec),
        ],
    }
    ours = labels(place) | {
        "greenroom.notebook": notebook.notebook,
        "greenroom.pool": notebook.pool,
        "greenroom.revision": str(notebook.revision),
    }
    environment = _told(spec) | {"GREENROOM_NOTEBOOK": notebook.notebook}
    if spec.run_as == "user":
        return _as_a_person(image, environment, ours, host)
    return _container(image, environment, ours, host)


def rehearsal(
    place: Place, spec: ContainerSpec, image: Image, *, name: str, run: Path
) -> dict[str, Any]:
    """The container that records what the image imports: no network, home or user."""
    host = _host(spec) | {
        "NetworkMode": "none",
        "Mounts": _channel(place, run),
        # Once per revision, within a time of its own, and every warm-up waits for it.
        "CpuShares": READY_SHARES,
    }
    ours = labels(place) | {"greenroom.rehearsal": name}
    marks = {"GREENROOM_NOTEBOOK": name, "GREENROOM_REHEARSAL": "1"}
    return _container(image, _told(spec) | marks, ours, host)


def network(place: Place, bridge: str) -> dict[str, Any]:
    """The node's own bridge, on which notebooks do not reach each other."""
    return {
        "Driver": "bridge",
        "Labels": labels(place),
        "Options": {
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.name": bridge,
        },
    }


def arguments(spec: ContainerSpec) -> tuple[str, ...]:
    """What the pool's command adds to the stock server's command line."""
    return spec.command[1:]


def check(spec: ContainerSpec, state_dir: Path) -> None:
    """`SpecRefused`, naming the key, where the specification asks for the node itself."""
    if spec.command and spec.command[0] != STOCK:
        raise SpecRefused(
            f"command {spec.command[0]!r} cannot be started warm: leave it out, or begin it "
            f"with {STOCK}"
        )
    if spec.run_as == "user" and spec.storage is None:
        raise SpecRefused('run_as = "user" needs storage: whose notebook it is, the home says')
    sources = [("mounts", mount.source) for mount in spec.mounts]
    if spec.storage:
        sources.append(("storage.root", spec.storage.root))
        if spec.storage.backup:
            sources.append(("storage.backup", spec.storage.backup))
    for key, source in sources:
        _check_source(key, source, state_dir)
    targets = [mount.target for mount in spec.mounts]
    for target in [*targets, *([spec.storage.target] if spec.storage else [])]:
        if _parts_overlap(target, "/greenroom") or _parts_overlap(target, "/run/greenroom"):
            raise SpecRefused(f"the target {target} covers {_OURS[0]} or {_OURS[1]}: move it")


def _check_source(key: str, source: str, state_dir: Path) -> None:
    if ".." in PurePosixPath(source).parts:
        raise SpecRefused(f"{key} {source!r} has `..` in it: write the whole path")
    if _covers(source, str(state_dir)) or _covers(str(state_dir), source):
        raise SpecRefused(f"{key} {source} shares a path with the agent's state: move it")
    for secret in _NODE_ITSELF:
        inside = secret not in _OFTEN_DATA_BELOW and _covers(secret, source)
        if _covers(source, secret) or inside:
            raise SpecRefused(f"{key} {source} is the node's own: give a directory of data")
    if _covers("/var/lib/docker", source) or _covers("/var/lib/containerd", source):
        raise SpecRefused(f"{key} {source} is the engine's own: give a directory of data")


def _covers(upper: str, lower: str) -> bool:
    above = PurePosixPath(upper)
    below = PurePosixPath(lower)
    return above == below or above in below.parents


def _parts_overlap(one: str, other: str) -> bool:
    return _covers(one, other) or _covers(other, one)


def _told(spec: ContainerSpec) -> dict[str, str]:
    """The pool's environment, and the image's name where DockerSpawner tells it, as it does."""
    return {**spec.environment, IMAGE_NAME: spec.image}


def _container(
    image: Image, environment: dict[str, str], ours: dict[str, str], host: dict[str, Any]
) -> dict[str, Any]:
    return {
        "Image": image.id,
        "Cmd": list(COMMAND),
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Labels": ours,
        "ExposedPorts": {f"{PORT}/tcp": {}},
        # The agent asks by itself. An image's own check costs an idle notebook its CPU, and would
        # run with the container's first user in a home that is somebody else's.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }


def _as_a_person(
    image: Image, environment: dict[str, str], ours: dict[str, str], host: dict[str, Any]
) -> dict[str, Any]:
    """Begins as root with what it takes to become somebody, and to make that the last change."""
    first = {"entrypoint": list(image.entry_point), "user": image.user}
    told = {**environment, "GREENROOM_FIRST": json.dumps(first)}
    begins = {"User": "0:0", "Entrypoint": list(COMMAND), "Cmd": []}
    able = host | {"CapAdd": list(BECOMING)}
    return _container(image, told, ours, able) | begins


def _host(spec: ContainerSpec) -> dict[str, Any]:
    limits = spec.resources
    return {
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": limits.pids,
        "Memory": limits.memory_mib * MiB,
        "MemorySwap": limits.memory_mib * MiB,
        # A quota, as NanoCpus is refused where it exceeds the node's cores.
        "CpuPeriod": 100_000,
        "CpuQuota": max(1000, int(limits.cpus * 100_000)),
        "CpuShares": WARMING_SHARES,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
        "RestartPolicy": {"Name": "no"},
    }


def _channel(place: Place, run: Path) -> list[dict[str, Any]]:
    package = {"Type": "bind", "Source": str(place.package), "Target": _OURS[0], "ReadOnly": True}
    return [package, {"Type": "bind", "Source": str(run), "Target": _OURS[1]}]


def _home(spec: ContainerSpec, home: Path) -> list[dict[str, Any]]:
    if spec.storage is None:
        return []
    # Read-only is the empty place; the home that is mounted on it brings its own rights.
    slave = {"Propagation": "rslave"}
    target = spec.storage.target
    bind = {"Type": "bind", "Source": str(home), "Target": target, "BindOptions": slave}
    return [bind | {"ReadOnly": True}]


def _others(spec: ContainerSpec) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": True}
        for mount in spec.mounts
    ]
    if spec.scratch_mib:
        size = {"SizeBytes": spec.scratch_mib * MiB, "Mode": 0o1777}
        mounts.append({"Type": "tmpfs", "Target": SCRATCH, "TmpfsOptions": size})
    return mounts
