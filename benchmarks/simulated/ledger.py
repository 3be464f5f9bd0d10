"""What simulated notebooks say of their own lives: the judge of whether one was given twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Activation:
    """One accepted activation, or with `refused` one that came to a notebook and was not."""

    notebook: str
    lease: str
    refused: str = ""


class Ledger:
    """Activations in the order in which they came; with a file also as lines of JSON there."""

    def __init__(self, file: Path | None = None) -> None:
        self.activations: list[Activation] = []
        self._out = file.open("a", buffering=1, encoding="utf-8") if file else None

    def write(self, activation: Activation) -> None:
        self.activations.append(activation)
        if self._out is not None:
            self._out.write(json.dumps(activation.__dict__) + "\n")

    def close(self) -> None:
        if self._out is not None:
            self._out.close()


def read(files: Iterable[Path]) -> list[Activation]:
    """Everything in these files."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [Activation(**json.loads(line)) for line in lines]
