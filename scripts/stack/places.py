"""Where one stack keeps its files: everything that can be wiped is under one directory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
VENV_HUB5 = CHECKOUT / ".venv-hub5"
STATE = CHECKOUT / ".greenroom"


@dataclass(frozen=True, kw_only=True)
class Place:
    """The directory of one stack: `.greenroom` for `up`, `.greenroom/test` for tests."""

    directory: Path

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def name(self) -> str:
        """Eight characters that differ between two checkouts on one machine."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]

    @property
    def short(self) -> Path:
        """A short directory for sockets, whose paths the kernel limits to 107 bytes."""
        return Path("/run") / f"greenroom-{self.name}"

    def make(self) -> Place:
        for directory in (self.directory, self.log, self.run):
            directory.mkdir(parents=True, exist_ok=True)
        return self

    def remembered(self, file: str) -> dict[str, str]:
        """What an earlier run wrote with `remember`; empty when there is nothing."""
        path = self.directory / file
        if not path.exists():
            return {}
        read = json.loads(path.read_text())
        return {str(key): str(value) for key, value in read.items()}

    def remember(self, file: str, values: dict[str, str]) -> None:
        path = self.directory / file
        path.touch(mode=0o600)
        path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


UP = Place(directory=STATE)
TEST = Place(directory=STATE / "test")
