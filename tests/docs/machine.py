"""A directory that `deploy/setup` takes for a machine.

The system's own programs are replaced by ones that only write down their words.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SECONDS = 120
# What it calls of the system; `getent` finds nobody, `psql` no database.
NOTED = ("useradd", "chgrp", "rabbitmqctl", "systemctl")
NOTE = 'echo "$(basename "$0") $*" >> "$NOTES"\n'
KEY = "from cryptography.fernet import Fernet as F; print(F.generate_key().decode())"
STUBS = {
    **dict.fromkeys(NOTED, NOTE),
    "getent": "exit 2\n",
    "runuser": f'{NOTE}case "$*" in *\' -tAc \'*|*createdb*) ;; *) cat >> "$NOTES" ;; esac\n',
    "python3": (
        f'{NOTE}mkdir -p "$3/bin"\n'
        'cp "$(dirname "$0")/of-venv-python" "$3/bin/python"\n'
        'cp "$(dirname "$0")/of-venv-greenroom" "$3/bin/greenroom"\n'
    ),
    "of-venv-python": f'case "$1" in -m) {NOTE.strip()} ;; *) exec {sys.executable} "$@" ;; esac\n',
    # `greenroom keys new`, without the second that our command line takes to load.
    "of-venv-greenroom": f'{NOTE}exec {sys.executable} -c "{KEY}"\n',
}


class Machine:
    """A directory that `deploy/setup` takes for a machine."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.etc = self.root / "etc" / "greenroom"
        self.units = self.root / "etc" / "systemd" / "system"
        self.home = folder / "opt" / "greenroom"
        self._notes = folder / "notes"
        self._bin = folder / "bin"
        shutil.copytree(CHECKOUT / "deploy", self.home / "deploy")
        self._bin.mkdir()
        for name, text in STUBS.items():
            (self._bin / name).write_text(f"#!/bin/sh\n{text}")
            (self._bin / name).chmod(0o755)

    def setup(self, *words: str) -> subprocess.CompletedProcess[str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith("GREENROOM_")}
        path = f"{self._bin}:{os.environ['PATH']}"
        mine = {"PATH": path, "NOTES": str(self._notes), "DESTDIR": str(self.root)}
        return subprocess.run(
            [str(self.home / "deploy" / "setup"), *words],
            env=kept | mine,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @property
    def notes(self) -> str:
        return self._notes.read_text() if self._notes.exists() else ""

    def values(self, name: str = "agent.env") -> dict[str, str]:
        """What this file of settings says."""
        lines = (self.etc / name).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def files(self) -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in sorted(self.root.rglob("*")) if f.is_file()}
