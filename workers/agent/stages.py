"""Where the milliseconds of one activation went."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter


class Stages:
    """Each stage is what passed since the one before."""

    def __init__(self) -> None:
        self._milliseconds: dict[str, float] = {}
        self._begun = self._first = perf_counter()

    def __str__(self) -> str:
        return ", ".join(f"{name} {ms:g}" for name, ms in self._milliseconds.items()) or "none"

    def end(self, name: str) -> None:
        """Everything since the last stage was this one."""
        now = perf_counter()
        self._milliseconds[name] = round((now - self._begun) * 1000, 2)
        self._begun = now

    def add(self, parts: Mapping[str, float]) -> None:
        """What somebody else measured inside a stage."""
        self._milliseconds.update(parts)

    def milliseconds(self) -> dict[str, float]:
        return dict(self._milliseconds)

    def seconds(self) -> float:
        """Since the first stage began."""
        return perf_counter() - self._first
