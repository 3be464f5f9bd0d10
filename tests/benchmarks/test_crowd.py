"""`scripts/crowd`: everybody has a row, and nobody's server is left behind."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from rich.console import Console, RenderableType

from benchmarks import crowd, crowd_screen
from benchmarks.crowd_picture import Picture
from benchmarks.crowd_screen import Person

QUEUE = {"position": 3, "eta_seconds": 4.0, "pool": "demo", "why": "warming", "warming": 2}


def shown(what: RenderableType, *, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def persons(count: int) -> list[Person]:
    return [Person(name=f"crowd-{n + 1:02}") for n in range(count)]


def ready(person: Person, *, began: float = 0.0, ended: float) -> None:
    person.click(began)
    person.ready(ended)


@pytest.mark.parametrize(
    ("people", "width", "height", "columns"),
    [
        (5, 80, 24, 1),
        (19, 80, 24, 1),
        (20, 80, 24, 0),
        (20, 87, 24, 2),
        (40, 140, 24, 3),
        (40, 60, 50, 1),
        (1, 41, 24, 0),
        (1, 200, 4, 0),
    ],
)
def test_everybody_has_a_row_or_the_terminal_is_too_small(
    people: int, width: int, height: int, columns: int
) -> None:
    assert crowd_screen.columns(people, width=width, height=height) == columns


@pytest.mark.parametrize(("count", "width", "height"), [(1, 80, 24), (40, 140, 24), (100, 200, 40)])
def test_the_screen_fits_the_terminal_and_names_everybody(
    count: int, width: int, height: int
) -> None:
    people = persons(count)

    lines = shown(
        crowd_screen.screen(people, 0.0, width=width, height=height), width=width, height=height
    )

    assert len(lines) < height
    assert max(len(line) for line in lines) <= width
    text = "\n".join(lines)
    assert all(f"{person.name} " in text for person in people)


def test_names_are_read_down_the_columns() -> None:
    people = persons(40)

    lines = shown(crowd_screen.screen(people, 0.0, width=140, height=24), width=140, height=24)

    first = next(line for line in lines if "crowd-01" in line)
    assert "crowd-15" in first
    assert "crowd-29" in first


def test_a_row_shows_stage_bar_and_seconds() -> None:
    asks, found, in_line, done = persons(4)
    for person in (asks, found, in_line):
        person.click(1.0)
    asks.hear({"progress": 10, "message": "Asking for a notebook"})
    found.hear({"progress": 70, "message": "A warm notebook was found"})
    in_line.hear({"progress": 30, "message": "Number 3 in line", "queue": QUEUE})
    ready(done, began=1.0, ended=1.25)

    rows = [crowd_screen.row(p, 3.5, width=42).plain for p in (asks, found, in_line, done)]
    bars = [row.count(crowd_screen.FULL) for row in rows]

    assert [len(row) for row in rows] == [42] * 4
    assert [row.split()[-2:] for row in rows] == [["2.50", "s"]] * 3 + [["0.25", "s"]]
    assert ["asks" in rows[0], "found" in rows[1], "in line: 3" in rows[2]] == [True] * 3
    assert "ready" in rows[3]
    assert 0 < bars[0] < bars[2] < bars[1] < bars[3]
    assert crowd_screen.EMPTY not in rows[3]


def test_a_bar_never_goes_back_and_is_full_only_when_ready() -> None:
    (person,) = persons(1)
    person.click(0.0)
    person.hear({"progress": 95})
    person.hear({"progress": 30, "queue": QUEUE})
    person.hear({"progress": 100})

    assert person.share == 0.99
    assert person.stood_in_line


def test_the_summary_counts_only_those_who_are_ready() -> None:
    people = persons(5)
    for number, person in enumerate(people[:3]):
        ready(person, ended=0.5 + number)
    people[3].click(0.0)
    people[3].hear({"queue": QUEUE})
    people[4].click(0.0)
    people[4].fail("the hub said: no", 9.0)

    assert crowd_screen.summary(people, 9.0) == (
        "3 of 5 ready   p50 1.50 s   p95 2.50 s   first 0.50 s   last 2.50 s   1 in line   1 failed"
    )


def test_nobody_ready_is_no_quantile() -> None:
    assert crowd_screen.summary(persons(2), 0.0) == "0 of 2 ready"


def test_the_end_says_why_somebody_failed_and_how_nobody_stands_in_line() -> None:
    people = persons(2)
    ready(people[0], ended=0.5)
    people[0].stood_in_line = True
    people[1].click(0.0)
    people[1].fail("the hub said: no", 1.0)

    told = crowd.ending(people)

    assert "crowd-02: the hub said: no" in told
    assert "GREENROOM_WARM=6 GREENROOM_MAX=14 scripts/up" in told


class StubHub:
    """As much of a hub's API as a crowd uses. `refusals` are 429 answers before it starts one."""

    def __init__(self) -> None:
        self.servers: set[str] = set()
        self.started: list[str] = []
        self.refusals: dict[str, int] = {}
        self.failing: set[str] = set()
        # Those whose click is answered only when somebody has heard all of their progress.
        self.slow: dict[str, asyncio.Event] = {}
        self.not_yet: set[str] = set()
        app = web.Application()
        app.router.add_get("/hub/api/users/{name}", self._user)
        app.router.add_post("/hub/api/users/{name}", self._made)
        app.router.add_post("/hub/api/users/{name}/server", self._start)
        app.router.add_delete("/hub/api/users/{name}/server", self._stop)
        app.router.add_get("/hub/api/users/{name}/server/progress", self._progress)
        self.runner = web.AppRunner(app)

    async def open(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _user(self, request: web.Request) -> web.Response:
        servers = {"": {}} if request.match_info["name"] in self.servers else {}
        return web.json_response({"servers": servers})

    async def _made(self, _: web.Request) -> web.Response:
        return web.json_response({}, status=201)

    async def _start(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self.refusals.get(name):
            self.refusals[name] -= 1
            return web.json_response({"message": "too many"}, status=429)
        self.servers.add(name)
        self.started.append(name)
        if name in self.slow:
            await self.slow[name].wait()
        return web.json_response({}, status=202)

    async def _stop(self, request: web.Request) -> web.Response:
        self.servers.discard(request.match_info["name"])
        return web.Response(status=204)

    async def _progress(self, request: web.Request) -> web.Response:
        end: dict[str, object] = {"progress": 100, "ready": True}
        name = request.match_info["name"]
        if name in self.slow:
            self.slow[name].set()
        if name in self.not_yet:
            self.not_yet.discard(name)
            raise web.HTTPBadRequest
        if name in self.failing:
            end = {"progress": 100, "failed": True, "message": "no such pool"}
        events = [{"progress": 70, "message": "found"}, end]
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
        return web.Response(text=text, content_type="text/event-stream")


@pytest.fixture(autouse=True)
def answers_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine too, nobody looks at the progress before their click is answered."""
    monkeypatch.setattr(crowd, "LOOK_AFTER_SECONDS", 3600.0)


@pytest.fixture
async def hub() -> AsyncIterator[tuple[StubHub, str]]:
    stub = StubHub()
    url = await stub.open()
    yield stub, url
    await stub.runner.cleanup()


@pytest.mark.parametrize("terminal", [True, False])
async def test_everybody_starts_is_shown_and_leaves(
    hub: tuple[StubHub, str], terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    stub, url = hub
    out = io.StringIO()
    console = Console(file=out, width=120, height=40, force_terminal=terminal)

    people = await crowd.crowd(url, "token", 12, console=console)

    assert {person.stage for person in people} == {"ready"}
    assert sorted(stub.started) == [person.name for person in people]
    assert stub.servers == set()
    assert ("12 of 12 ready" in out.getvalue()) is terminal
    assert (len(out.getvalue().splitlines()) == 12) is not terminal


async def test_who_is_sent_away_tries_again_and_who_fails_says_why(
    hub: tuple[StubHub, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "AGAIN_SECONDS", 0.0)
    stub, url = hub
    stub.refusals["crowd-01"] = 2
    stub.failing.add("crowd-02")
    out = io.StringIO()

    first, second = await crowd.crowd(url, "token", 2, console=Console(file=out), plain=True)

    assert (first.stage, stub.refusals["crowd-01"]) == ("ready", 0)
    assert (second.stage, second.problem) == ("failed", "the hub said: no such pool")
    assert "no such pool" in out.getvalue()
    assert stub.servers == set()


@pytest.mark.parametrize("not_yet", [True, False])
async def test_stages_are_shown_while_the_hub_has_not_answered_the_click(
    hub: tuple[StubHub, str], not_yet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "LOOK_AFTER_SECONDS", 0.01)
    stub, url = hub
    stub.slow["crowd-01"] = asyncio.Event()
    stub.not_yet = {"crowd-01"} if not_yet else set()
    heard: list[str] = []
    hear = Person.hear

    def noted(person: Person, event: dict[str, object]) -> None:
        hear(person, event)
        heard.append(person.stage)

    monkeypatch.setattr(Person, "hear", noted)

    (person,) = await crowd.crowd(url, "token", 1, console=Console(file=io.StringIO()), plain=True)

    assert (person.stage, heard) == ("ready", ["found"])


def test_the_picture_is_of_the_moment_when_half_were_ready_and_loads_nothing(
    tmp_path: Path,
) -> None:
    picture = Picture(tmp_path / "crowd.svg")
    people = persons(4)
    for number, person in enumerate(people):
        person.click(0.0)
        picture.remember(people, number)
        ready(person, ended=number + 0.5)
    picture.remember(people, 4.0)

    picture.save()

    text = (tmp_path / "crowd.svg").read_text()
    assert "2&#160;of&#160;4&#160;ready" in text
    assert "@font-face" not in text
    assert "url(http" not in text


def test_nobody_asked_for_a_picture_and_none_is_kept() -> None:
    picture = Picture(None)

    picture.remember(persons(1), 0.0)

    picture.save()
