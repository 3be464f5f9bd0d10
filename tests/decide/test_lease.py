"""The line and what is offered: tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.decide.lease import (
    PLACES_PER_MESSAGE,
    AttemptOver,
    attempt_over,
    offer,
    outlook,
    places,
    prefix_fits,
)
from controlplane.decide.lease_snapshot import Line
from controlplane.messages import RunFailed, RunRefused, encode
from controlplane.messages.envelope import MAX_BYTES
from controlplane.model import Lease, LeasePhase, Notebook, NotebookPhase

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def uuid(n: int) -> str:
    return f"00000000-0000-7000-8000-{n:012x}"


def waiter(n: int, *, process: str = "hub1-a", since: datetime = NOW) -> Lease:
    return Lease(
        lease=uuid(n),
        hub="hub1",
        hub_process=process,
        user=f"user{n}",
        server="",
        prefix=f"/user/user{n}/",
        pool="small",
        phase=LeasePhase.WAITING,
        version=1,
        attempt=1,
        place=n,
        created_at=since,
        phase_at=since,
        deadline=NOW + timedelta(minutes=5),
    )


LINE = Line(
    pool="small",
    taken_at=NOW,
    waiting=(waiter(1), waiter(2)),
    ready=0,
    warming=0,
    held=0,
    leaving=0,
    maximum=None,
    paused=False,
    nodes=2,
    free=100,
    failures=0,
    warm_seconds=None,
)


@pytest.mark.parametrize(
    ("change", "why", "detail"),
    [
        ({"warming": 3}, "warming", ""),
        ({"warming": 3, "maximum": 3}, "warming", ""),
        ({"warming": 3, "failures": 9}, "warming", ""),
        ({"ready": 1}, "warming", ""),
        ({}, "warming", ""),
        ({"maximum": 10, "held": 10}, "at_capacity", "all 10 notebooks are in use"),
        ({"maximum": 10, "held": 8, "leaving": 2}, "at_capacity", "all 10 notebooks are in use"),
        ({"maximum": 10, "held": 9}, "warming", ""),
        ({"free": 0}, "at_capacity", "every node is full"),
        ({"nodes": 0}, "nothing_coming", "no node is ready"),
        ({"nodes": 0, "warming": 2}, "nothing_coming", "no node is ready"),
        ({"paused": True}, "nothing_coming", "the pool is paused"),
        ({"paused": True, "maximum": 0}, "nothing_coming", "the pool is paused"),
        ({"failures": 4}, "nothing_coming", "4 notebooks failed to start"),
        (
            {"waiting": (waiter(1, since=NOW - timedelta(seconds=31)),)},
            "nothing_coming",
            "nobody makes notebooks: is refill running?",
        ),
    ],
)
def test_people_hear_why_they_wait(change: dict[str, object], why: str, detail: str) -> None:
    told = outlook(replace(LINE, **change))  # type: ignore[arg-type]  # a table of fields

    assert (told.why, told.detail) == (why, detail)


@pytest.mark.parametrize(
    ("warm_seconds", "pace", "eta"),
    [(None, None, None), (8.0, None, 4.0), (8.0, 0.5, 2.0), (None, 4.0, 0.2)],
)
def test_the_eta_is_measured_or_not_given(
    warm_seconds: float | None, pace: float | None, eta: float | None
) -> None:
    told = outlook(replace(LINE, warming=2, warm_seconds=warm_seconds), pace)

    assert told.eta_seconds == eta


def test_nobody_hears_an_eta_when_nothing_comes() -> None:
    assert outlook(replace(LINE, nodes=0, warm_seconds=3.0), 1.0).eta_seconds is None


def test_each_hub_process_hears_of_its_own_people_in_order_of_arrival() -> None:
    line = replace(LINE, waiting=(waiter(1), waiter(2, process="hub2-x"), waiter(3), waiter(4)))

    told = places(line, None)

    heard = {
        process: [(place.lease, place.place) for message in messages for place in message.places]
        for process, messages in told.items()
    }
    assert heard == {
        "hub1-a": [(uuid(1), 1), (uuid(3), 3), (uuid(4), 4)],
        "hub2-x": [(uuid(2), 2)],
    }


def test_people_of_a_hub_that_no_node_reaches_hear_that_and_the_others_the_rest() -> None:
    theirs = replace(waiter(1, process="hub2-a"), hub="hub2")
    line = replace(LINE, waiting=(theirs, waiter(2)), warming=3, cut_off=("hub2",))

    told = places(line, None)

    (cut_off,), (others,) = told["hub2-a"], told["hub1-a"]
    assert (cut_off.why, cut_off.detail) == (
        "nothing_coming",
        "no node's notebooks reach this hub's API",
    )
    assert cut_off.eta_seconds is None
    assert others.why == "warming"


def test_a_long_line_is_told_in_messages_that_fit() -> None:
    line = replace(LINE, waiting=tuple(waiter(n) for n in range(1, 2001)))

    messages = places(line, None)["hub1-a"]

    sizes = [len(encode(m, id="i", source="s", time="t")) for m in messages]
    assert max(sizes) < MAX_BYTES
    assert [len(m.places) for m in messages] == [PLACES_PER_MESSAGE] * 5
    assert [p.place for m in messages for p in m.places] == list(range(1, 2001))


def test_an_empty_line_tells_nobody() -> None:
    assert places(replace(LINE, waiting=()), None) == {}


def ready(n: int, *, node: str, revision: int = 1, age: int = 0) -> Notebook:
    return Notebook(
        notebook=uuid(n),
        pool="small",
        revision=revision,
        node=node,
        phase=NotebookPhase.READY,
        version=3,
        created_at=NOW,
        phase_at=NOW - timedelta(seconds=age),
    )


def test_the_newest_revision_is_offered_first_then_the_fullest_node_then_the_oldest() -> None:
    rows = [
        ready(1, node="a", age=50),
        ready(2, node="a", age=40),
        ready(3, node="b", age=90),
        ready(4, node="a", age=30),
        ready(5, node="c", revision=2, age=1),
    ]

    offered = offer(rows)

    assert offered == {"small": (uuid(5), uuid(1), uuid(2), uuid(3), uuid(4))}


def test_after_a_rollback_what_the_pool_wants_comes_before_a_higher_number() -> None:
    rows = [
        ready(1, node="a", revision=1, age=50),
        ready(2, node="a", revision=2, age=90),
        ready(3, node="a", revision=3, age=10),
    ]

    offered = offer(rows, wanted={("small", 1), ("small", 3), ("other", 2)})

    assert offered == {"small": (uuid(3), uuid(1), uuid(2))}


def test_nodes_take_turns_once_they_are_level() -> None:
    rows = [ready(n, node="ab"[n % 2], age=n) for n in range(6)]

    by_node = {row.notebook: row.node for row in rows}
    order = [by_node[notebook] for notebook in offer(rows)["small"]]

    assert sorted(order[:2]) == sorted(order[2:4]) == sorted(order[4:]) == ["a", "b"]


def test_a_burst_takes_from_every_node_as_much_as_its_share() -> None:
    rows = [ready(n, node="a", age=n) for n in range(20)]
    rows += [ready(100 + n, node="b", age=n) for n in range(10)]

    by_node = {row.notebook: row.node for row in rows}
    order = "".join(by_node[notebook] for notebook in offer(rows)["small"])

    for burst in range(3, 31, 3):
        assert abs(order[:burst].count("b") - burst // 3) <= 1
    assert order[0] == "a"


def test_what_is_not_ready_or_somebody_s_is_not_offered() -> None:
    rows = [
        replace(ready(1, node="a"), phase=NotebookPhase.LEASED, lease=uuid(9)),
        replace(ready(2, node="a"), phase=NotebookPhase.WARMING),
        replace(ready(3, node="a"), lease=uuid(9)),
    ]

    assert offer(rows) == {}


def refused(reason: str, *, terminal: bool = False) -> RunRefused:
    return RunRefused(
        node="n1",
        epoch=1,
        seq=1,
        notebook=uuid(1),
        lease=uuid(2),
        attempt=1,
        reason=reason,
        detail="because",
        terminal=terminal,
    )


@pytest.mark.parametrize(
    ("report", "over"),
    [
        (
            refused("seal", terminal=True),
            AttemptOver(reason="seal", detail="because", terminal=True),
        ),
        (refused("used"), AttemptOver(reason="used", detail="because", terminal=False)),
        (refused("stale_epoch"), None),
        (
            RunFailed(
                node="n1",
                epoch=1,
                seq=1,
                notebook=uuid(1),
                lease=uuid(2),
                attempt=1,
                reason="timeout",
                detail="late",
            ),
            AttemptOver(reason="timeout", detail="late", terminal=False),
        ),
    ],
)
def test_a_report_ends_its_attempt_or_not(
    report: RunRefused | RunFailed, over: AttemptOver | None
) -> None:
    assert attempt_over(report) == over


@pytest.mark.parametrize(
    ("user", "server", "prefix", "fits"),
    [
        ("alice", "", "/user/alice/", True),
        ("alice", "", "/hub-base/user/alice/", True),
        ("alice", "lab", "/user/alice/lab/", True),
        ("al ice@x", "my lab", "/user/al%20ice@x/my%20lab/", True),
        ("ärger", "", "/user/%C3%A4rger/", True),
        ("alice", "", "/user/bob/", False),
        ("alice", "", "/user/alice/lab/", False),
        ("alice", "lab", "/user/alice/", False),
        ("alice", "", "/", False),
        ("alice", "", "/user/malice/", False),
        ("alice", "lab", "/user/alice/lab%2F..%2F", False),
    ],
)
def test_a_prefix_is_the_user_s_own(user: str, server: str, prefix: str, fits: bool) -> None:
    assert prefix_fits(user, server, prefix) is fits
