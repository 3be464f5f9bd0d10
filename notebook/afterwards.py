"""Lets what a server does in the background begin when it serves, not before.

`jupyter_lsp` looks for language servers in a thread: as much work as half of an activation, and
it fights the start for the interpreter. A plain Jupyter server begins with it when its loop
starts, after its port is bound; JupyterHub's question to the hub runs the loop earlier. Here it
begins a second after the server serves, and what it asks of the image was read while warm.

JupyterHub's server tells the hub of its activity at once and then every five minutes. When forty
people start together the hub has most to do just then, and knows that they are there: the first
report is made some seconds later.
Standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import random
import sys

from answers import StandIn, as_text

IN_THE_BACKGROUND = ("jupyter_lsp",)
AFTER_SECONDS = 1.0
FIRST_REPORT_SECONDS = (10.0, 20.0)


class Afterwards:
    """Holds back what those extensions ask the loop to do at once, until it is let go."""

    def __init__(self) -> None:
        self.held: list[tuple] = []
        self.prepared: list[StandIn] = []
        with contextlib.suppress(Exception):
            self.prepared += about_language_servers()
        self.door = self.close_door()

    def close_door(self) -> StandIn | None:
        try:
            from tornado.ioloop import IOLoop

            return StandIn(IOLoop, "call_later", self.hold)
        except (ImportError, KeyError):
            return None

    def offer(self) -> None:
        if self.door is not None:
            self.door.offer()

    def hold(self, loop, delay, callback, *arguments, **named):
        package = (getattr(callback, "__module__", None) or "").partition(".")[0]
        if delay or package not in IN_THE_BACKGROUND or self.door is None:
            return None
        call_later = self.door.stock
        return call_later(loop, AFTER_SECONDS, self.do, callback, arguments, named)

    def withdraw(self) -> None:
        if self.door is not None:
            self.door.withdraw()

    async def do(self, callback, arguments: tuple, named: dict) -> None:
        for each in self.prepared:
            each.offer()
        try:
            doing = callback(*arguments, **named)
            if inspect.isawaitable(doing):
                await doing
        finally:
            for each in self.prepared:
                each.withdraw()


class FirstReport(StandIn):
    """Holds back the task in which JupyterHub's server reports what its person does."""

    def __init__(self) -> None:
        super().__init__(asyncio, "ensure_future", self.hold)

    def hold(self, asked, **named):
        code = getattr(asked, "cr_code", None)
        if code is None or code.co_name != "keep_activity_updated":
            return None
        return self.stock(self.later(asked), **named)

    async def later(self, reporting) -> None:
        try:
            await asyncio.sleep(random.uniform(*FIRST_REPORT_SECONDS))
            await reporting
        finally:
            # A server that stops before has nothing to await any more.
            reporting.close()


def about_language_servers() -> list[StandIn]:
    """Which packages of the image bring language servers, and whether what they say is valid."""
    manager = sys.modules.get("jupyter_lsp.manager")
    groups = [name for told, name in vars(manager).items() if told.startswith("EP_")]
    known = {group: manager.entry_points(group=group) for group in groups}
    seen = places()

    def entry_points(**asked):
        # A person's own packages may bring some: with another path everybody is asked.
        fits = set(asked) == {"group"} and asked["group"] in known and places() == seen
        return known[asked["group"]] if fits else None

    return [StandIn(manager, "entry_points", entry_points), *about_specifications(manager, known)]


def about_specifications(manager, known: dict) -> list[StandIn]:
    validator = manager.LANGUAGE_SERVER_SPEC_MAP
    valid = set()
    asking = manager.LanguageServerManager()
    for entry_point in known[manager.EP_SPEC_V1]:
        with contextlib.suppress(Exception):
            told = entry_point.load()(asking) or {}
            if not list(validator.iter_errors(told)):
                valid.add(as_text(told))

    def iter_errors(asked, told, *others):
        fits = asked is validator and not others and as_text(told) in valid
        return [] if fits else None

    return [StandIn(type(validator), "iter_errors", iter_errors)]


def places() -> list[tuple[str, int]]:
    """Where packages are looked for, and when each place changed last."""
    found = []
    for path in sys.path:
        try:
            found.append((path, os.stat(path).st_mtime_ns))
        except OSError:
            found.append((path, 0))
    return found
