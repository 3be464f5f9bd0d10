"""What the machine needs from apt and npm, which part of it is missing, and its installation."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.stack import commands
from scripts.stack.places import STATE, Place
from scripts.stack.screen import Trouble

PROXY = STATE / "node" / "node_modules" / ".bin" / "configurable-http-proxy"
NO_AUTOSTART = Path("/usr/sbin/policy-rc.d")
# apt is slow on a first update over a slow line, and other apt runs hold its lock.
APT_SECONDS = 1200


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something that has to be on this machine, and the apt packages that bring it.

    `a|b` is the first of these that this distribution has.
    """

    what: str
    packages: tuple[str, ...]
    present: Callable[[], bool]
    megabytes: int


def _program(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name, path=_search_path()) for name in names)


def _postgres() -> bool:
    return postgres_programs() is not None


def _compose() -> bool:
    plugin = commands.read(["docker", "compose", "version"]) is not None
    return plugin or shutil.which("docker-compose") is not None


def _venv() -> bool:
    importlib.invalidate_caches()  # apt may have brought it a moment ago
    return importlib.util.find_spec("ensurepip") is not None


# Without certificates debootstrap, npm and pip cannot reach anything.
CERTIFICATES = Need(
    what="certificates",
    packages=("ca-certificates",),
    present=lambda: Path("/etc/ssl/certs/ca-certificates.crt").exists(),
    megabytes=1,
)
VENV = Need(what="Python's venv", packages=("python3-venv",), present=_venv, megabytes=6)
SERVICES = (
    Need(what="PostgreSQL", packages=("postgresql",), present=_postgres, megabytes=70),
    Need(what="Redis", packages=("redis-server",), present=_program("redis-server"), megabytes=7),
    Need(
        what="RabbitMQ",
        packages=("rabbitmq-server",),
        present=lambda: Path("/usr/lib/rabbitmq/bin/rabbitmq-server").exists(),
        megabytes=70,
    ),
)
ENGINE = (
    # Debian 13 moved the command out of docker.io.
    Need(
        what="the docker command",
        packages=("docker-cli|docker.io",),
        present=_program("docker"),
        megabytes=60,
    ),
    Need(
        what="a Docker engine",
        packages=("docker.io", "iptables", "iproute2"),
        present=_program("dockerd", "iptables", "ip"),
        megabytes=200,
    ),
    Need(
        what="debootstrap", packages=("debootstrap",), present=_program("debootstrap"), megabytes=1
    ),
)
NODE = (
    Need(what="Node.js", packages=("nodejs",), present=_program("node"), megabytes=110),
    Need(what="npm", packages=("npm",), present=_program("npm"), megabytes=90),
)
BROWSER = (
    Need(
        what="Chromium",
        packages=("chromium", "chromium-driver"),
        present=_program("chromium", "chromedriver"),
        megabytes=400,
    ),
)
COMPOSE = (
    Need(
        what="docker-compose",
        packages=("docker-compose|docker-compose-v2",),
        present=_compose,
        megabytes=30,
    ),
)


def missing(needs: Sequence[Need]) -> list[Need]:
    return [need for need in needs if not need.present()]


def install(needs: Sequence[Need], place: Place) -> None:
    """Install what is missing with apt, without starting any service that comes along."""
    wanted = [package for need in missing(needs) for package in need.packages]
    if not wanted:
        return
    log = place.log / "apt.log"
    root = privileged()
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    get = [
        *root,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=600",
    ]
    commands.run([*get, "update"], log=log, timeout_seconds=APT_SECONDS, environment=quiet)
    with _nothing_started(root, log):
        commands.run(
            [*get, "install", "-y", "--no-install-recommends", *map(_known, wanted)],
            log=log,
            timeout_seconds=APT_SECONDS,
            environment=quiet,
        )
    if left := missing(needs):
        raise Trouble(
            f"apt-get installed {', '.join(wanted)}, but there is still no "
            f"{', '.join(need.what for need in left)}",
            log=log,
        )


def install_proxy(place: Place) -> None:
    """configurable-http-proxy under .greenroom/node: the newest that this Node.js can run."""
    if PROXY.exists():
        return
    PROXY.parents[2].mkdir(parents=True, exist_ok=True)
    version = "^5.0.0" if node_version() >= 20 else "4.6.3"
    commands.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefix", PROXY.parents[2],
         f"configurable-http-proxy@{version}"],
        log=place.log / "npm.log",
        timeout_seconds=600,
    )  # fmt: skip


def node_version() -> int:
    """The major version of Node.js; 0 when there is none."""
    found = re.match(r"v(\d+)\.", commands.read(["node", "--version"]) or "")
    return int(found.group(1)) if found else 0


def postgres_programs() -> Path | None:
    """Debian's directory of initdb and postgres, newest first; they are not on PATH."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


def privileged() -> list[str]:
    """What to put before a command that needs root; says so when there is no way."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        return ["sudo"]
    raise Trouble(
        "packages are missing, and installing them needs root or sudo",
        advice="Run this as root once, or install sudo.",
    )


def _known(package: str) -> str:
    """The first of `a|b` that this distribution's lists have."""
    names = package.split("|")
    return next((name for name in names if commands.read(["apt-cache", "show", name])), names[0])


def _search_path() -> str:
    # An ordinary user's PATH on Debian lacks the directories of dockerd and debootstrap.
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@contextmanager
def _nothing_started(root: Sequence[str], log: Path) -> Iterator[None]:
    """Debian starts a service as it is installed; ours are private, so none may start.

    An existing policy of this machine is respected and left alone.
    """
    if NO_AUTOSTART.exists():
        yield
        return
    shell = f"printf '#!/bin/sh\\nexit 101\\n' > {NO_AUTOSTART} && chmod 755 {NO_AUTOSTART}"
    commands.run([*root, "sh", "-c", shell], log=log, timeout_seconds=30)
    try:
        yield
    finally:
        commands.run([*root, "rm", "-f", str(NO_AUTOSTART)], log=log, timeout_seconds=30)
