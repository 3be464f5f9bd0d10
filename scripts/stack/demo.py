"""What `up` runs on top of the services: an agent, workers, a proxy and a hub, as programs.

One `Demo` says where everything is; tests that need a whole stack make their own.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.stack import packages, ports, processes, venv
from scripts.stack.places import CHECKOUT, Place
from scripts.stack.processes import Program
from scripts.stack.services import Urls

WORKERS = ("agent", "lease", "refill", "liveness", "suspect")
PROXY, HUB = "proxy", "hub"
# Started in this order; stopped the other way round: whoever asks goes before whoever answers.
ALL = (*WORKERS, PROXY, HUB)
CONFIGURATION = CHECKOUT / "deploy" / "demo"
TOKEN_FILE = "hub-api-token"
WORKER_SECONDS = 60
HUB_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One running stack: where it is, what it uses, and which ports people see."""

    place: Place
    urls: Urls
    docker_host: str
    # An address of this machine that containers reach: hubs listen there for notebooks.
    gateway: str
    hub_port: int = 8000
    # Where the proxy listens for people.
    public_address: str = "127.0.0.1"
    environment: venv.Environment = venv.MAIN

    @property
    def installation(self) -> str:
        return installation(self.place)

    @property
    def url(self) -> str:
        """What a person opens."""
        return f"http://{self.public_address}:{self.hub_port}"

    @property
    def homes(self) -> Path:
        return self.place.directory / "homes"

    @property
    def token(self) -> str:
        """The token of the service `bench`."""
        return secret(self.place, TOKEN_FILE)

    def settings(self, worker: str = "cli") -> dict[str, str]:
        """The variables that a process of Greenroom reads."""
        return {
            **self.urls.environment(),
            "GREENROOM_INSTALLATION": self.installation,
            "GREENROOM_SEAL_KEYS": secret(self.place, "seal-key"),
            "GREENROOM_HTTP_PORT": str(self.http_port(worker)),
            "GREENROOM_NODE__NAME": "node1",
            "GREENROOM_NODE__ADDRESS": "127.0.0.1",
            "GREENROOM_NODE__DOCKER_HOST": self.docker_host,
            "GREENROOM_NODE__STATE_DIR": str(self.place.directory / "agent"),
        }

    def http_port(self, worker: str) -> int:
        """Where a worker's /healthz and /metrics are; 0 (any) for commands."""
        return ports.port_for(self.place, f"http-{worker}") if worker in WORKERS else 0

    def programs(self) -> list[Program]:
        """Everything that `start` runs, in order."""
        return [*(self._worker(name) for name in WORKERS), self._proxy(), self._hub()]

    def start(self, program: Program) -> bool:
        """Start one of them and wait until it answers; True if it was not running."""
        started = processes.start(program, self.place)
        processes.wait_until(
            lambda: self.answers(program.name),
            place=self.place,
            name=program.name,
            timeout_seconds=HUB_SECONDS if program.name == HUB else WORKER_SECONDS,
        )
        return started

    def answers(self, name: str) -> bool:
        """Whether this program does its work now."""
        if name == PROXY:
            return ports.answers(ports.port_for(self.place, "proxy-api"))
        if name == HUB:
            return answers(f"{self.url}/hub/api")
        return answers(f"http://127.0.0.1:{self.http_port(name)}/healthz")

    def _worker(self, name: str) -> Program:
        return Program(
            name=name,
            command=(str(self.environment.python), "-m", "workers", name),
            environment=self.settings(name),
            version=source_version("controlplane", "workers", "notebook"),
            stop_seconds=40,
        )

    def _proxy(self) -> Program:
        return Program(
            name=PROXY,
            command=(
                str(packages.PROXY),
                "--ip", self.public_address, "--port", str(self.hub_port),
                "--api-ip", "127.0.0.1", "--api-port", str(ports.port_for(self.place, "proxy-api")),
                "--error-target", f"{self._hub_address()}/hub/error",
            ),
            environment={"CONFIGPROXY_AUTH_TOKEN": secret(self.place, "proxy-token")},
        )  # fmt: skip

    def _hub(self) -> Program:
        directory = self.place.directory / "hub"
        directory.mkdir(exist_ok=True)
        return Program(
            name=HUB,
            command=(
                self.environment.program("jupyterhub"),
                "--config", str(CONFIGURATION / "jupyterhub_config.py"),
            ),
            environment={
                "PATH": f"{self.environment.directory / 'bin'}:{os.environ.get('PATH', '')}",
                "CONFIGPROXY_AUTH_TOKEN": secret(self.place, "proxy-token"),
                "DEMO_PROXY_API": f"http://127.0.0.1:{ports.port_for(self.place, 'proxy-api')}",
                "DEMO_PUBLIC_URL": self.url,
                "DEMO_HUB_URL": self._hub_address(),
                "DEMO_BENCH_TOKEN": self.token,
                "GREENROOM_AMQP_URL": self.urls.amqp,
                "GREENROOM_INSTALLATION": self.installation,
                "GREENROOM_SEAL_KEYS": secret(self.place, "seal-key"),
            },
            directory=directory,
            version=source_version("controlplane", "deploy/demo"),
        )  # fmt: skip

    def _hub_address(self) -> str:
        """Where the hub's API listens: notebooks ask it, so it cannot be loopback."""
        return f"http://{self.gateway}:{ports.port_for(self.place, 'hub')}"


def installation(place: Place) -> str:
    """Prefixes queues, keys and labels: two checkouts never touch each other's containers."""
    return f"demo-{place.name}"


def secret(place: Place, name: str) -> str:
    """A secret of this stack, made on first use: 32 random bytes, which is also a Fernet key."""
    path = place.directory / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    return path.read_text().strip()


def answers(url: str) -> bool:
    """Whether the program that we started there is well; nobody else's answer will do."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def pools_file(demo: Demo, *, warm: int, maximum: int) -> Path:
    """The demo's pools with this stack's numbers and directory of homes."""
    text = (CONFIGURATION / "pools.toml").read_text()
    for key, value in {"warm": warm, "maximum": maximum, "root": f'"{demo.homes}"'}.items():
        text = "".join(_with(line, key, value) for line in text.splitlines(keepends=True))
    demo.homes.mkdir(exist_ok=True)
    path = demo.place.directory / "pools.toml"
    path.write_text(text)
    return path


def source_version(*rooms: str) -> str:
    """A hash of the code that a program loaded: edited code is restarted by the next `up`."""
    digest = hashlib.sha256()
    for path in _sources(rooms):
        digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


def _sources(rooms: tuple[str, ...]) -> Iterator[Path]:
    kinds = {".py", ".sql", ".lua", ".toml", ".sh"}
    for room in rooms:
        found = (CHECKOUT / room).rglob("*")
        yield from sorted(path for path in found if path.suffix in kinds)


def _with(line: str, key: str, value: object) -> str:
    name = line.partition("=")[0]
    return f"{name.rstrip()} = {value}\n" if name.strip() == key and "=" in line else line
