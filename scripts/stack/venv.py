"""The virtual environments: made once, and again when what they are made of changes."""

from __future__ import annotations

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.stack import commands
from scripts.stack.places import CHECKOUT, VENV, VENV_HUB5, Place

# A first installation on a slow line downloads about 400 MB.
INSTALL_SECONDS = 1800


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One virtual environment; `wanted` are pip's arguments."""

    directory: Path
    wanted: tuple[str, ...]

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def ingredients(self) -> str:
        """A hash of everything that decides what is inside."""
        told = (CHECKOUT / "pyproject.toml").read_bytes() + repr(self.wanted).encode()
        return hashlib.sha256(told + sys.version.encode()).hexdigest()

    @property
    def current(self) -> bool:
        stamp = self.directory / "greenroom-ingredients"
        return stamp.exists() and stamp.read_text() == self.ingredients

    def program(self, name: str) -> str:
        return str(self.directory / "bin" / name)


MAIN = Environment(
    directory=VENV,
    wanted=("-e", ".[dev]", "jupyterhub>=6,<7", "dockerspawner>=14", "jupyterhub-idle-culler"),
)
# Only what the spawner's tests import: the point is JupyterHub 5.3, not the rest.
HUB5 = Environment(
    directory=VENV_HUB5,
    wanted=(
        "-e", ".[node,control]", "jupyterhub>=5.3,<6", "hypothesis", "pytest>=8.3",
        "pytest-asyncio>=1.0", "pytest-rerunfailures>=15",
        "pytest-timeout>=2.3", "websockets>=15",
    ),
)  # fmt: skip


def install(environment: Environment, place: Place) -> None:
    """Make the environment unless it is current; a broken one is made anew."""
    if environment.current:
        return
    log = place.log / f"{environment.directory.name.lstrip('.')}.log"
    if not _works(environment):
        shutil.rmtree(environment.directory, ignore_errors=True)
        commands.run(
            [sys.executable, "-m", "venv", environment.directory], log=log, timeout_seconds=300
        )
    commands.run(
        [environment.python, "-m", "pip", "install", "--quiet", *environment.wanted],
        log=log,
        timeout_seconds=INSTALL_SECONDS,
    )
    (environment.directory / "greenroom-ingredients").write_text(environment.ingredients)


def _works(environment: Environment) -> bool:
    return commands.read([environment.python, "-m", "pip", "--version"]) is not None
