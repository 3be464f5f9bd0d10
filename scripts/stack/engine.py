"""A Docker engine: the one that answers, else a private one beside whatever runs here.

A private engine has its own data, sockets, pid files, containerd namespaces and bridge; it is
stopped by the pid of its daemon and takes its bridge with it.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

from scripts.stack import commands, mounts, processes
from scripts.stack.places import Place
from scripts.stack.screen import Trouble

NAME = "dockerd"
DEFAULT_HOST = "unix:///var/run/docker.sock"
# Private ranges seldom used by offices and by Docker itself (172.17-172.31, 192.168).
RANGES = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/24") for second in range(201, 250))


def start(directory: Path) -> str:
    """The address of an engine that answers; starts a private one where there is none.

    `GREENROOM_ENGINE=private` has a private one started beside an engine that answers.
    """
    place = Place(directory=directory).make()
    running = _private_host(place)
    if processes.is_running(place, NAME) and answers(running):
        return running
    if os.environ.get("GREENROOM_ENGINE") == "private":
        return start_private(directory)
    for host in (os.environ.get("DOCKER_HOST", ""), DEFAULT_HOST):
        if host and answers(host):
            return host
    if os.environ.get("DOCKER_HOST"):
        raise Trouble(
            f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}",
            advice="Unset DOCKER_HOST to have a private engine started, or correct it.",
        )
    return start_private(directory)


def start_private(directory: Path, *, namespace: str = "") -> str:
    """Start an engine of our own under this directory and return its address.

    With `namespace` (of `ip netns`) its bridge, rules and published ports are in there. Only the
    network is entered, not a mount namespace: what an agent mounts must reach its containers.
    """
    place = Place(directory=directory).make()
    if os.geteuid() != 0:
        raise Trouble(
            "no Docker engine answers, and starting a private one needs root",
            advice="Run it as root, or start Docker and put yourself into the group docker.",
        )
    place.short.mkdir(mode=0o711, exist_ok=True)
    subnet = _subnet(place)
    inside = ("nsenter", f"--net=/run/netns/{namespace}") if namespace else ()
    _make_bridge(place, subnet, inside)
    if not processes.is_running(place, NAME):
        # A pid file of a killed engine may name somebody else's process by now.
        (place.short / "docker.pid").unlink(missing_ok=True)
    processes.start(
        processes.Program(
            name=NAME,
            command=(*inside, *_command(place)),
            # Containers first get 10 s to stop, then the daemon unmounts what they used.
            stop_seconds=60,
        ),
        place,
    )
    host = _private_host(place)
    processes.wait_until(lambda: answers(host), place=place, name=NAME, timeout_seconds=120)
    return host


def stop(directory: Path) -> bool:
    """Stop the private engine, if there is one; engines of others are not touched."""
    place = Place(directory=directory)
    stopped = processes.stop(place, NAME)
    if place.remembered("engine.json"):
        commands.read(["ip", "link", "delete", _bridge(place)])
    # Docker leaves the handle of a network namespace mounted there.
    mounts.unmount_below(place.short)
    shutil.rmtree(place.short, ignore_errors=True)
    return stopped


def wipe(directory: Path) -> None:
    """Remove a stopped private engine's images and containers."""
    place = Place(directory=directory)
    shutil.rmtree(place.directory / "engine", ignore_errors=True)
    (place.directory / "engine.json").unlink(missing_ok=True)


def answers(host: str) -> bool:
    """Whether a Docker engine answers there now."""
    try:
        return _get(host, "/_ping") == b"OK"
    except (OSError, http.client.HTTPException):
        return False


def storage_driver(host: str) -> str:
    """The engine's storage driver: `vfs` copies whole images and deserves a warning."""
    return str(json.loads(_get(host, "/info"))["Driver"])


def bridge_gateway(host: str) -> str:
    """The address at which containers on the engine's default bridge reach this machine."""
    told = json.loads(_get(host, "/networks/bridge"))
    configuration = told["IPAM"]["Config"][0]
    # Docker 20.10 leaves the gateway of its own first bridge out; it is the first address.
    first = ipaddress.IPv4Network(configuration["Subnet"])[1]
    return str(configuration.get("Gateway") or first)


def _get(host: str, path: str) -> bytes:
    connection = _connect(host)
    try:
        connection.request("GET", path, headers={"Host": "docker"})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise http.client.HTTPException(f"{path} answered {answer.status}: {body[:200]!r}")
    return body


def _connect(host: str) -> http.client.HTTPConnection:
    url = urlsplit(host)
    if url.scheme != "unix":
        return http.client.HTTPConnection(url.hostname or "", url.port or 2375, timeout=10)
    connection = http.client.HTTPConnection("docker", timeout=10)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(10)
    try:
        link.connect(url.path)
    except OSError:
        link.close()
        raise
    connection.sock = link
    return connection


def _private_host(place: Place) -> str:
    return f"unix://{place.short}/docker.sock"


def _bridge(place: Place) -> str:
    # The kernel limits names of interfaces to 15 characters.
    return f"grn{place.name}"


def _command(place: Place) -> tuple[str, ...]:
    program = shutil.which(NAME, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise Trouble("there is no dockerd; the package docker.io brings it")
    return (
        program,
        "--host", _private_host(place),
        "--data-root", str(place.directory / "engine"),
        "--exec-root", str(place.short / "exec"),
        "--pidfile", str(place.short / "docker.pid"),
        "--bridge", _bridge(place),
        # No --default-address-pool: with one, a restarted dockerd deletes the docker0 of the
        # machine's own engine.
        # Where a containerd of the machine is shared, ours must not see its containers.
        "--containerd-namespace", f"greenroom-{place.name}",
        "--containerd-plugins-namespace", f"greenroom-{place.name}-plugins",
    )  # fmt: skip


def _subnet(place: Place) -> str:
    """A /24 for the bridge, free when it was first chosen."""
    known = place.remembered("engine.json")
    if not known:
        used = _used_networks()
        free = next((r for r in RANGES if not any(r.overlaps(u) for u in used)), None)
        if free is None:
            raise Trouble("every network from 10.201.0.0/24 to 10.249.0.0/24 is in use here")
        known = {"bridge": str(free)}
        place.remember("engine.json", known)
    return known["bridge"]


def _used_networks() -> list[ipaddress.IPv4Network]:
    told = commands.read(["ip", "-j", "-4", "route", "show", "table", "all"]) or "[]"
    networks = []
    for route in json.loads(told):
        if route["dst"] != "default":
            networks.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return networks


def _make_bridge(place: Place, subnet: str, inside: tuple[str, ...]) -> None:
    network = ipaddress.IPv4Network(subnet)
    if commands.read([*inside, "ip", "link", "show", _bridge(place)]) is not None:
        return
    log = place.log / f"{NAME}.log"
    name = _bridge(place)
    address = f"{network[1]}/{network.prefixlen}"
    for words in (
        ["link", "add", "name", name, "type", "bridge"],
        ["addr", "add", address, "dev", name],
        ["link", "set", name, "up"],
    ):
        commands.run([*inside, "ip", *words], log=log, timeout_seconds=30)
