"""A crowd's screen as it was when about half of them were ready, kept as an SVG."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import crowd_screen
from benchmarks.crowd_screen import Person

# A terminal as people have it, with room for forty.
WIDTH, HEIGHT = 140, 24
SHARE = 0.5


class Picture:
    """Remembers how everybody stood, and draws the moment that shows most.

    Without a path it does nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._moments: list[tuple[float, list[Person]]] = []

    def remember(self, people: Sequence[Person], now: float) -> None:
        """How they stand now."""
        if self.path is None:
            return
        self._moments.append((now, copy.deepcopy(list(people))))

    def save(self) -> None:
        """Write the moment that is nearest to half of them being ready."""
        if self.path is not None and self._moments:
            now, people = min(self._moments, key=lambda moment: _away(moment[1]))
            self.path.write_text(svg(people, now))


def svg(people: Sequence[Person], now: float) -> str:
    """The screen as a picture that loads nothing from anywhere."""
    console = Console(
        width=WIDTH, height=HEIGHT, record=True, force_terminal=True, file=io.StringIO()
    )
    console.print(f"[bold green]$[/] scripts/crowd {len(people)}", highlight=False)
    console.print(crowd_screen.screen(people, now, width=WIDTH, height=HEIGHT - 1))
    text = console.export_svg(title=f"scripts/crowd {len(people)}")
    return re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.DOTALL)


def _away(people: Sequence[Person]) -> float:
    ready = sum(person.stage == "ready" for person in people)
    return abs(ready - SHARE * len(people))
