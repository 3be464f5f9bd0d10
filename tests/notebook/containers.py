"""Real containers for the tests of `notebook/`: a notebook, and beside it who plays the rest.

A `Booth` is two volumes (home, private directory) and a container that owns a network without
any way out. It plays the hub on loopback; the agent and the visitor are run in it. The notebook
joins that network, so nothing here depends on bridges, ports or firewalls of the machine.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebook"
INSIDE = Path(__file__).parent / "inside"
ENTRY = ("/bin/sh", "/greenroom/entry.sh")
DEADLINE_SECONDS = 180.0


class Docker:
    """The docker command against one engine, and everything made with it."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.session = f"greenroom-test-{secrets.token_hex(5)}"
        self.containers: list[str] = []
        self.volumes: list[str] = []

    def __call__(self, *words: str, stdin: str = "", ok: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            ("docker", "--host", self.host, *words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode in ok, f"docker {' '.join(words)}: {done.stderr or done.stdout}"
        return done.stdout

    def run(self, image: str, command: tuple[str, ...], *options: str) -> str:
        name = f"{self.session}-{len(self.containers)}"
        self.containers.append(name)
        label = f"greenroom.test={self.session}"
        self("run", "--detach", "--name", name, "--label", label, *options, image, *command)
        return name

    def volume(self) -> str:
        name = f"{self.session}-volume-{len(self.volumes)}"
        self.volumes.append(name)
        return self("volume", "create", name).strip()

    def clear_away(self) -> None:
        # A notebook goes before the container whose network it shares.
        for name in reversed(self.containers):
            self("rm", "--force", "--volumes", name, ok=(0, 1))
        for name in self.volumes:
            self("volume", "rm", "--force", name, ok=(0, 1))


class Booth:
    """One network, one home, one private directory; in it at most one notebook."""

    def __init__(self, docker: Docker, image: str) -> None:
        self.docker, self.image = docker, image
        self.home, self.private = docker.volume(), docker.volume()
        self.volumes = (
            "--volume", f"{NOTEBOOK}:/greenroom:ro",
            "--volume", f"{self.private}:/run/greenroom",
        )  # fmt: skip
        self.side = docker.run(
            image, ("/inside/hub.py",),
            "--network", "none", "--hostname", "notebook", "--user", "0",
            "--entrypoint", "python3", *self.volumes,
            "--volume", f"{INSIDE}:/inside:ro", "--volume", f"{self.home}:/home/jovyan",
        )  # fmt: skip
        self.notebook = ""
        self.play("/inside/agent.py", "prepare")

    def start(
        self, command: tuple[str, ...], environment: Mapping[str, str], *options: str
    ) -> None:
        told = [word for item in environment.items() for word in ("--env", "=".join(item))]
        self.notebook = self.docker.run(
            self.image, command, "--network", f"container:{self.side}", *self.volumes,
            "--volume", f"{self.home}:/home/jovyan", *told, *options,
        )  # fmt: skip

    def play(self, *words: str, stdin: str = "", ok: tuple[int, ...] = (0,)) -> str:
        """Run a file of `inside/` beside the notebook; if it fails, tell the notebook's log."""
        try:
            return self.docker("exec", "-i", self.side, "python3", *words, stdin=stdin, ok=ok)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from error

    def wait_until_warm(self) -> dict[str, Any]:
        return dict(json.loads(self.play("/inside/agent.py", "wait")))

    def activate(self, **changed: Any) -> list[dict[str, Any]]:
        """Everything that the notebook answered after its greeting."""
        order = {"lease": "L", "notebook": "n1", "arguments": [], "directory": "/home/jovyan"}
        line = json.dumps({"activate": {**order, **changed}}) + "\n"
        answers = self.play("/inside/agent.py", "activate", stdin=line)
        return [json.loads(answer) for answer in answers.splitlines()[1:]]

    def log(self) -> str:
        done = subprocess.run(
            ("docker", "--host", self.docker.host, "logs", "--tail", "60", self.notebook),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        return done.stdout

    def exit_code(self) -> int:
        return int(self.docker("wait", self.notebook))
