"""`scripts/crowd N`: N people of the demo press Start at once, and you watch.

It needs the demo of scripts/up; for people who all find a warm notebook, start it with

    GREENROOM_WARM=44 GREENROOM_MAX=90 scripts/up        # 40 people and a few spare

On a terminal with room for everybody it is a live screen with one row for each; else each
arrival is one plain line. It ends with p50 and p95 and stops everybody's server, also after
Ctrl-C. Homes are kept, as everybody's are.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.live import Live

from benchmarks import crowd_screen
from benchmarks.crowd_picture import Picture
from benchmarks.crowd_screen import Person
from scripts.stack import demo, processes
from scripts.stack.places import UP
from scripts.stack.proof import Unproven, Visit, visiting
from scripts.stack.screen import Trouble

MOST = 500
PATIENCE_SECONDS = 600.0
# The machine has better things to do than to draw.
REDRAW_SECONDS = 0.2
AGAIN_SECONDS = 2.0
LOOK_AFTER_SECONDS = 0.5
STOP_AT_ONCE = 10

Arrived = Callable[[Person], None]


def main(arguments: Sequence[str]) -> int:
    told = _parse(arguments)
    console = Console()
    try:
        url, token = running_demo()
        picture = Picture(told.picture)
        people = asyncio.run(
            crowd(url, token, told.people, console=console, plain=told.plain, picture=picture)
        )
        picture.save()
    except Trouble as trouble:
        console.print(f"{trouble.reason}\n{trouble.advice or ''}".rstrip(), markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; everybody's server was stopped as well.")
        return 130
    console.print(ending(people), markup=False, highlight=False)
    return 1 if any(person.problem for person in people) else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/crowd",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("people", metavar="N", type=_some, help=f"people at once, 1 to {MOST}")
    parser.add_argument("--picture", type=Path, help="an SVG of how it stood half-way")
    parser.add_argument("--plain", action="store_true", help="lines, also on a terminal")
    return parser.parse_args(arguments)


def _some(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST}")
    return int(text)


def running_demo() -> tuple[str, str]:
    """Address and token of the demo; `Trouble` says how to start it."""
    port = os.environ.get("GREENROOM_HUB_PORT", "8000")
    url = f"http://127.0.0.1:{port}"
    try:
        up = processes.is_running(UP, demo.HUB)
        token = (UP.directory / demo.TOKEN_FILE).read_text().strip() if up else ""
    except PermissionError:
        raise Trouble(
            "the demo belongs to root, and so does its token", advice="sudo scripts/crowd ..."
        ) from None
    if not up:
        raise Trouble("The demo is not running.", advice="Start it: scripts/up")
    if not demo.answers(f"{url}/hub/api"):
        raise Trouble(
            f"The demo runs, and nothing of it answers at {url}.",
            advice="If it was started with another port: GREENROOM_HUB_PORT=... scripts/crowd ...",
        )
    return url, token


async def crowd(
    url: str,
    token: str,
    count: int,
    *,
    console: Console,
    plain: bool = False,
    picture: Picture | None = None,
) -> list[Person]:
    """Everybody's start, shown as it goes; their servers are stopped when this returns."""
    people = [Person(name=f"crowd-{number + 1:02}") for number in range(count)]
    async with visiting(token) as session:
        visits = [Visit(session, url, person.name, "") for person in people]
        try:
            await _few_at_once(visits, _prepare)
            async with _remembered(people, picture or Picture(None)):
                await _shown(people, visits, console=console, plain=plain)
        finally:
            await _few_at_once(visits, _leave)
    return people


async def _shown(
    people: Sequence[Person], visits: Sequence[Visit], *, console: Console, plain: bool
) -> None:
    room = crowd_screen.columns(len(people), width=console.width, height=console.height)
    terminal = console.is_terminal and not console.is_dumb_terminal
    if plain or not terminal or not room:
        if terminal and not plain:
            console.print("This terminal is too small for everybody's row, so here are lines.")

        def tell(person: Person) -> None:
            line = crowd_screen.line(person, people, time.monotonic())
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        return await _all_start(people, visits, tell)
    with Live(console=console, auto_refresh=False) as live:

        def draw() -> None:
            now, size = time.monotonic(), console.size
            shown = crowd_screen.screen(people, now, width=size.width, height=size.height)
            live.update(shown, refresh=True)

        drawing = asyncio.create_task(_again_and_again(draw))
        try:
            await _all_start(people, visits, lambda _: None)
        finally:
            drawing.cancel()
            draw()


@asynccontextmanager
async def _remembered(people: Sequence[Person], picture: Picture) -> AsyncIterator[None]:
    remembering = asyncio.create_task(
        _again_and_again(lambda: picture.remember(people, time.monotonic()))
    )
    try:
        yield
    finally:
        remembering.cancel()


async def _again_and_again(draw: Callable[[], None]) -> None:
    while True:
        draw()
        await asyncio.sleep(REDRAW_SECONDS)


async def _all_start(people: Sequence[Person], visits: Sequence[Visit], arrived: Arrived) -> None:
    async def one(person: Person, visit: Visit) -> None:
        await _start(person, visit)
        arrived(person)

    await asyncio.gather(*(one(p, v) for p, v in zip(people, visits, strict=True)))


async def _start(person: Person, visit: Visit) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            # A hub has no event for "try again": it says 429, as to a browser.
            while not await _try(person, visit):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_SECONDS)
        person.ready(time.monotonic())
    except TimeoutError:
        person.fail(f"not ready within {PATIENCE_SECONDS:.0f} s", time.monotonic())
    except (Unproven, aiohttp.ClientError) as error:
        person.fail(str(error)[:300] or repr(error), time.monotonic())


async def _try(person: Person, visit: Visit) -> bool:
    """Press Start and follow it; False where the hub asks to try again later."""
    person.click(time.monotonic())
    click = asyncio.create_task(visit.click())
    try:
        # The hub answers a click when the server is there, and what happens meanwhile is the show.
        await asyncio.wait({click}, timeout=LOOK_AFTER_SECONDS)
        if not click.done():
            with suppress(NotYet):
                return await _follow(person, visit)
        await click
        return await _follow(person, visit)
    except Unproven as error:
        if error.status == 429:
            return False
        raise
    finally:
        click.cancel()
        await asyncio.gather(click, return_exceptions=True)


class NotYet(Unproven):
    """The hub has not begun with this start, or is through with it."""


async def _follow(person: Person, visit: Visit) -> bool:
    """What the hub tells until it is ready; False where it asks to try again later."""
    last = ""
    try:
        async with aclosing(visit.progress()) as events:
            async for event in events:
                if event.get("ready"):
                    return True
                last = str(event.get("message") or last)
                if event.get("failed"):
                    break
                person.hear(event)
    except Unproven as error:
        if error.status in (400, 404):
            raise NotYet(str(error)) from None
        raise
    if person.stage == "in line":
        return False  # sent out of a long line's start, with the place kept
    raise Unproven(f"the hub said: {last}")


async def _prepare(visit: Visit) -> None:
    await visit.make_user()
    await visit.stop_server()


async def _leave(visit: Visit) -> None:
    try:
        await visit.stop_server()
    except (Unproven, TimeoutError, aiohttp.ClientError) as error:
        # The idle culler stops what is left.
        print(f"{visit.user}'s server was not stopped: {error}", file=sys.stderr)


async def _few_at_once(visits: Sequence[Visit], act: Callable[[Visit], Awaitable[None]]) -> None:
    turns = asyncio.Semaphore(STOP_AT_ONCE)

    async def one(visit: Visit) -> None:
        async with turns:
            await act(visit)

    await asyncio.gather(*(one(visit) for visit in visits))


def ending(people: Sequence[Person]) -> str:
    """The last words: how long it took, who failed and why, and what would make it quicker."""
    told = [crowd_screen.summary(people, time.monotonic())]
    told += [f"{p.name}: {p.problem}" for p in people if p.problem]
    waited = sum(1 for person in people if person.stood_in_line)
    if waited:
        size = f"GREENROOM_WARM={len(people) + 4} GREENROOM_MAX={2 * len(people) + 10}"
        told.append(f"{waited} stood in line for a warm notebook. More of them: {size} scripts/up")
    return "\n".join(told)
