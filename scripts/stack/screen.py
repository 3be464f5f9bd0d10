"""Steps with timers on a terminal, plain lines elsewhere, and what a failure prints."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

TAIL_LINES = 15
# A shared machine has better things to do than to draw; twice a second looks alive.
REDRAW_SECONDS = 0.5


class Trouble(Exception):
    """Something cannot go on: says why, which log shows it and what to do next."""

    def __init__(self, reason: str, *, log: Path | None = None, advice: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.log = log
        self.advice = advice


class Step:
    """One running step; `note` is shown beside its title, also after it ended.

    A step that knows that it failed, without an error, sets `failed`.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.note = ""
        self.failed = False
        self.began = time.monotonic()

    def tell(self, note: str) -> None:
        self.note = note

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def line(self, mark: str) -> str:
        note = f"  {self.note}" if self.note else ""
        return f" {mark} {self.title:<46} {self.seconds:6.1f} s{note}"


class Screen:
    """Shows steps; on a terminal the running one is redrawn in place."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self.out = out
        self.terminal = out.isatty()

    def say(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        step = Step(title)
        ended = threading.Event()
        drawer = threading.Thread(target=self._draw, args=(step, ended), daemon=True)
        if self.terminal:
            drawer.start()
        else:
            self.say(f" .. {title}")
        try:
            yield step
        except BaseException:
            step.failed = True
            raise
        finally:
            self._close(step, ended, drawer)

    def failed(self, trouble: Trouble, *, retry: str) -> None:
        """The reason, the last lines of the failing log, and the exact command to try again."""
        self.say(f"\n{trouble.reason}")
        if trouble.log is not None:
            self.say(f"\nlast lines of {trouble.log}:")
            for line in tail(trouble.log):
                self.say(f"    {line}")
        if trouble.advice:
            self.say(f"\n{trouble.advice}")
        self.say(f"\nTry again: {retry}")

    def _draw(self, step: Step, ended: threading.Event) -> None:
        while not ended.wait(REDRAW_SECONDS):
            self.out.write(f"\r\x1b[K{step.line(chr(0x2026))}")
            self.out.flush()

    def _close(self, step: Step, ended: threading.Event, drawer: threading.Thread) -> None:
        good, bad = ("\N{CHECK MARK}", "\N{BALLOT X}") if self.terminal else ("ok", "failed")
        mark = bad if step.failed else good
        ended.set()
        if drawer.is_alive():
            drawer.join()
        clear = "\r\x1b[K" if self.terminal else ""
        self.say(f"{clear}{step.line(mark)}")


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log; says so when there is none."""
    if not log.exists():
        return ["(it was never written)"]
    return log.read_text(errors="replace").splitlines()[-lines:] or ["(it is empty)"]
