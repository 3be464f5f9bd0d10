"""What holds for every line and every set of notebooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.lease import offer, outlook, places
from controlplane.decide.lease_snapshot import Line
from controlplane.model import Lease, LeasePhase, Notebook, NotebookPhase

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@st.composite
def notebooks(draw: st.DrawFn) -> Notebook:
    number = draw(st.integers(0, 10_000))
    return Notebook(
        notebook=f"n{number}",
        pool=draw(st.sampled_from(["small", "large"])),
        revision=draw(st.integers(1, 3)),
        node=draw(st.sampled_from(["a", "b", "c"])),
        phase=draw(st.sampled_from(list(NotebookPhase))),
        version=1,
        created_at=NOW,
        phase_at=NOW - timedelta(seconds=draw(st.integers(0, 100))),
        lease=draw(st.none() | st.just("l1")),
    )


@st.composite
def lines(draw: st.DrawFn) -> Line:
    count = draw(st.integers(0, 30))
    return Line(
        pool="small",
        taken_at=NOW,
        waiting=tuple(
            waiter(n, draw(st.sampled_from(["p1", "p2", "p3"])), draw(st.integers(0, 100)))
            for n in range(count)
        ),
        ready=draw(st.integers(0, 3)),
        warming=draw(st.integers(0, 3)),
        held=draw(st.integers(0, 5)),
        leaving=draw(st.integers(0, 5)),
        maximum=draw(st.none() | st.integers(0, 8)),
        paused=draw(st.booleans()),
        nodes=draw(st.integers(0, 2)),
        free=draw(st.integers(0, 3)),
        failures=draw(st.integers(0, 2)),
        warm_seconds=draw(st.none() | st.floats(0.1, 600)),
    )


def waiter(n: int, process: str, ago: int) -> Lease:
    since = NOW - timedelta(seconds=ago)
    return Lease(
        lease=f"00000000-0000-7000-8000-{n:012x}",
        hub="hub1",
        hub_process=process,
        user="u",
        server="",
        prefix="/user/u/",
        pool="small",
        phase=LeasePhase.WAITING,
        version=1,
        attempt=1,
        place=n,
        created_at=since,
        phase_at=since,
        deadline=NOW,
    )


@given(st.lists(notebooks(), unique_by=lambda n: n.notebook, max_size=40))
def test_exactly_what_is_ready_and_nobody_s_is_offered_once(rows: list[Notebook]) -> None:
    offered = offer(rows)

    free = [n for n in rows if n.phase is NotebookPhase.READY and n.lease is None]
    assert sorted(id for ids in offered.values() for id in ids) == sorted(n.notebook for n in free)
    assert all(n.notebook in offered[n.pool] for n in free)


@given(st.lists(notebooks(), unique_by=lambda n: n.notebook, max_size=40))
def test_a_newer_revision_always_comes_before_an_older_one(rows: list[Notebook]) -> None:
    revision = {n.notebook: n.revision for n in rows}

    for ids in offer(rows).values():
        revisions = [revision[id] for id in ids]
        assert revisions == sorted(revisions, reverse=True)


@given(st.lists(notebooks(), unique_by=lambda n: n.notebook, max_size=40))
def test_within_a_node_and_a_revision_the_oldest_comes_first(rows: list[Notebook]) -> None:
    known = {n.notebook: n for n in rows}

    for ids in offer(rows).values():
        seen: dict[tuple[int, str], datetime] = {}
        for notebook in (known[id] for id in ids):
            shelf = (notebook.revision, notebook.node)
            assert seen.get(shelf, notebook.phase_at) <= notebook.phase_at
            seen[shelf] = notebook.phase_at


@given(lines(), st.none() | st.floats(0.001, 100))
def test_everybody_in_line_hears_their_place_once(line: Line, pace: float | None) -> None:
    heard = {
        place.lease: (process, place.place)
        for process, messages in places(line, pace).items()
        for message in messages
        for place in message.places
    }

    assert heard == {
        lease.lease: (lease.hub_process, n) for n, lease in enumerate(line.waiting, start=1)
    }


@given(lines(), st.none() | st.floats(0.001, 100))
def test_an_eta_is_promised_only_while_something_may_come(line: Line, pace: float | None) -> None:
    told = outlook(line, pace)

    assert told.eta_seconds is None or told.why == "warming"
    assert bool(told.detail) == (told.why != "warming")
