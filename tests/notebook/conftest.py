"""A warm_start.py that runs outside a container, on an image that is all make-believe.

`warm` starts the real files of `notebook/` with the base interpreter; Jupyter, tornado and
`jupyterhub-singleuser` are fakes, so these tests take milliseconds and need no Docker.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebook"
FAKES = Path(__file__).parent / "fakes"
DEADLINE_SECONDS = 60.0

# A virtual environment without the system's packages has no user site; its base has.
PYTHON = getattr(sys, "_base_executable", sys.executable)

START = """
import sys
sys.path[0] = {notebook!r}
import warm_start
warm_start.PRIVATE = {private!r}
sys.exit(warm_start.main())
"""


class Conversation:
    """One connection to a warm notebook, line by line."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_SECONDS)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("rb")

    def send(self, sent: bytes) -> None:
        # The other side may refuse before it has read everything.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(sent)

    def hear(self) -> dict[str, Any] | None:
        """The next message; None when the other side closed."""
        try:
            line = self.lines.readline()
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


class Warm:
    """One notebook process, its private directory and everything that was said to it."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.home = directory / "home"
        self.private = directory / "run"
        self.errors = directory / "stderr"
        self.script = directory / "bin" / "jupyterhub-singleuser"
        for made in (self.home, self.private, self.script.parent):
            made.mkdir()
        self.script.write_text(f"#!{PYTHON}\n" + (FAKES / "script.py").read_text())
        self.environment = {
            "HOME": str(directory / "empty"),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(FAKES / "site"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "GREENROOM_NOTEBOOK": "n1",
            "GREENROOM_SCRIPT": str(self.script),
            "FAKE_MARKS": str(directory / "marks"),
            **environment,
        }
        (directory / "marks").touch()
        self.marks = directory / "marks"
        self.process: subprocess.Popen[bytes] | None = None
        self.conversations: list[Conversation] = []

    def start(self) -> Warm:
        told = START.format(notebook=str(NOTEBOOK), private=str(self.private))
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [PYTHON, "-c", told], env=self.environment, stdin=subprocess.DEVNULL, stderr=errors
            )
        return self

    def record(self, *modules: str, python: str | None = None) -> None:
        told = {"modules": modules, **({"python": python} if python else {})}
        (self.private / "record.json").write_text(json.dumps(told))

    def connect(self) -> Conversation:
        """A connection that has heard the greeting."""
        give_up = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                conversation = Conversation(self.private / "socket")
                break
            except OSError:
                assert self.process is not None
                assert self.process.poll() is None, self.errors.read_text()
                assert time.monotonic() < give_up, "it never became warm"
                time.sleep(0.01)
        self.conversations.append(conversation)
        return conversation

    def order(self, **changed: Any) -> bytes:
        told = {
            "lease": "L",
            "notebook": "n1",
            "environment": {"HOME": str(self.home), "JUPYTERHUB_API_TOKEN": "secret"},
            "arguments": ["--one", "two three"],
            "directory": str(self.home),
            **changed,
        }
        return json.dumps({"activate": told}).encode() + b"\n"

    def end(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_SECONDS)

    def facts(self) -> dict[str, Any]:
        """What the fake server saw of itself; it has ended."""
        self.end()
        return dict(json.loads((self.home / "facts.json").read_text()))

    def clear_away(self) -> None:
        for conversation in self.conversations:
            conversation.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_SECONDS)


@pytest.fixture
def make_warm(tmp_path: Path) -> Iterator[Callable[..., Warm]]:
    made: list[Warm] = []

    def make(**environment: str) -> Warm:
        made.append(Warm(tmp_path, environment))
        return made[-1]

    yield make
    for warm in made:
        warm.clear_away()


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a file of `notebook/` by the name that it has inside a container."""
    monkeypatch.syspath_prepend(str(NOTEBOOK))
    names = (
        *("activation", "afterwards", "answers", "certificates"),
        *("first", "identity", "preload", "rehearsal"),
    )
    for name in (*names, "warm_start"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module
