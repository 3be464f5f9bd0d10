"""What a lease's row implies, as values; and what a broker that is away changes: nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from controlplane.apply.leases import LeaseEffects, answers, fresh, orders, word
from controlplane.clients.postgres import Granted
from controlplane.errors import BadMessage, Unavailable, Unroutable
from controlplane.messages import (
    ActivateNotebook,
    LeaseClaimed,
    LeaseEnded,
    LeaseServing,
    RetireNotebook,
)
from controlplane.model import EndReason, Lease, LeasePhase, Notebook, NotebookPhase

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
L1, L2 = (f"00000000-0000-7000-8000-{n:012x}" for n in (1, 2))
N1, N2 = (f"00000000-0000-7000-8000-{n:012x}" for n in (11, 12))

LEASE = Lease(
    lease=L1,
    hub="hub1",
    hub_process="hub1-a",
    user="ada",
    server="",
    prefix="/user/ada/",
    pool="demo",
    phase=LeasePhase.CLAIMED,
    version=1,
    attempt=1,
    place=7,
    created_at=NOW,
    phase_at=NOW,
    deadline=NOW + timedelta(seconds=60),
    notebook=N1,
    node="node1",
    sealed="gAAAA-sealed",
    traceparent="00-abc",
)
NOTEBOOK = Notebook(
    notebook=N1,
    pool="demo",
    revision=1,
    node="node1",
    phase=NotebookPhase.LEASED,
    version=4,
    created_at=NOW,
    phase_at=NOW,
    lease=L1,
)
CLAIMED = Granted(lease=LEASE, now=NOW, notebook=NOTEBOOK, epoch=3)
SERVING = replace(
    CLAIMED,
    lease=replace(LEASE, phase=LeasePhase.SERVING, url="http://h:1/user/ada/", sealed=None),
)
WAITING = Granted(lease=replace(LEASE, phase=LeasePhase.WAITING, notebook=None, node=None), now=NOW)
ENDED = Granted(
    lease=replace(
        LEASE, phase=LeasePhase.ENDED, reason=EndReason.EXPIRED, detail="late", sealed=None
    ),
    now=NOW,
    retired=(replace(NOTEBOOK, phase=NotebookPhase.RETIRING, reason="expired: Late!"),),
)


def test_a_claimed_row_orders_its_activation_for_as_long_as_it_has() -> None:
    (order,) = orders(CLAIMED)

    assert order.body == ActivateNotebook(
        notebook=N1,
        lease=L1,
        attempt=1,
        hub="hub1",
        user="ada",
        server="",
        prefix="/user/ada/",
        epoch=3,
        budget_ms=60_000,
        sealed="gAAAA-sealed",
    )
    assert (order.route.exchange, order.route.key) == ("commands", "node1")
    assert (order.expires_ms, order.traceparent) == (60_000, "00-abc")


@pytest.mark.parametrize(
    "granted",
    [
        SERVING,
        WAITING,
        replace(CLAIMED, now=NOW + timedelta(seconds=60)),
        replace(CLAIMED, lease=replace(LEASE, sealed=None)),
        replace(CLAIMED, notebook=None),
    ],
    ids=["serving", "waiting", "out of time", "no seal", "no notebook"],
)
def test_nothing_is_ordered_for_what_is_not_claimed_or_cannot_be_in_time(
    granted: Granted,
) -> None:
    assert orders(granted) == []


def test_what_was_let_go_is_retired_whatever_the_lease_became() -> None:
    gone = replace(NOTEBOOK, notebook=N2, node="node2", reason="unaccepted: node2")

    commands = {order.route.key: order.body for order in orders(replace(CLAIMED, retired=(gone,)))}

    assert commands["node2"] == RetireNotebook(notebook=N2, epoch=0, reason="unaccepted")
    assert isinstance(commands["node1"], ActivateNotebook)


@pytest.mark.parametrize(
    ("granted", "kind"), [(CLAIMED, LeaseClaimed), (SERVING, LeaseServing), (ENDED, LeaseEnded)]
)
def test_the_hub_process_hears_what_its_row_says(granted: Granted, kind: type) -> None:
    (answer,) = answers(granted)

    assert type(answer.body) is kind
    assert (answer.route.exchange, answer.route.key) == ("", "hub.hub1-a")
    assert not answer.route.mandatory


def test_the_hub_process_hears_that_somebody_is_on_the_backup() -> None:
    on_backup = replace(SERVING, lease=replace(SERVING.lease, home="backup-rw"))

    (told,) = answers(on_backup)

    assert isinstance(told.body, LeaseServing)
    assert told.body.home == "backup-rw"


def test_a_waiting_row_is_answered_by_places_alone() -> None:
    assert answers(WAITING) == []


def test_an_answer_goes_to_the_process_that_asked_and_news_of_others_to_their_own() -> None:
    other = replace(ENDED.lease, lease=L2, hub_process="hub1-old", reason=EndReason.SUPERSEDED)

    sent = answers(replace(SERVING, ended=(other,)), to="hub1-new")

    assert [(s.route.key, type(s.body)) for s in sent] == [
        ("hub.hub1-old", LeaseEnded),
        ("hub.hub1-new", LeaseServing),
    ]


def test_more_stages_than_a_message_takes_are_cut_and_ours_stay() -> None:
    stages = {f"agent{n}": 1.0 for n in range(32)} | {"record": 2.0, "total": 9.0}

    (answer,) = answers(SERVING, stages=stages)

    assert isinstance(answer.body, LeaseServing)
    assert len(answer.body.stages) == 32
    assert answer.body.stages["total"] == 9.0


def test_no_seal_reaches_a_hub() -> None:
    said = [s.body.model_dump_json() for g in (CLAIMED, SERVING, ENDED) for s in answers(g)]

    assert "gAAAA" not in "".join(said)


@pytest.mark.parametrize(
    ("reason", "said"),
    [("expired", "expired"), ("Died: exit code 1", "died"), ("", ""), ("$(x) y", "x")],
)
def test_a_command_carries_one_word_of_a_reason(reason: str, said: str) -> None:
    assert word(reason) == said


def test_a_row_that_was_only_read_is_not_fresh() -> None:
    later = replace(CLAIMED, now=NOW + timedelta(seconds=1))

    assert (fresh(CLAIMED), fresh(later)) == (True, False)


class FakeBroker:
    """Keeps what is published, or says that it is away."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[object] = []
        self.error = error

    async def publish(self, body: object, route: object, **_: object) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(body)


class FakeOutbox:
    woken = 0

    def wake(self) -> None:
        self.woken += 1


class FakeStages:
    def __init__(self) -> None:
        self.kept: dict[str, dict[str, float]] = {}

    def note(self, lease: str, stages: dict[str, float]) -> None:
        self.kept[lease] = stages

    async def recall(self, lease: str) -> dict[str, float]:
        return self.kept.get(lease, {})


def effects(broker: FakeBroker) -> LeaseEffects:
    return LeaseEffects(cast(Any, broker), cast(Any, FakeOutbox()), cast(Any, FakeStages()))


def told(logs: list[Any], event: str) -> list[Any]:
    return [line for line in logs if line["event"] == event]


async def test_a_start_is_told_in_one_line_with_all_its_stages() -> None:
    made = effects(FakeBroker())
    with capture_logs() as logs:
        await made.apply(CLAIMED, stages={"pop": 1.0, "decide": 2.0})
        await made.apply(SERVING, stages={"turn": 3.0, "record": 4.0})

    (line,) = told(logs, "lease.served")
    assert (line["lease"], line["user"], line["node"], line["start"]) == (
        L1,
        "ada",
        "node1",
        "warm",
    )
    assert line["stages"].keys() == {"pop", "decide", "order", "turn", "record", "total", "answer"}
    assert "gAAAA" not in str(logs)


async def test_what_was_only_read_again_is_published_and_not_told_again() -> None:
    broker = FakeBroker()
    with capture_logs() as logs:
        await effects(broker).apply(replace(SERVING, now=NOW + timedelta(seconds=9)))
        await effects(broker).apply(replace(ENDED, now=NOW + timedelta(seconds=9)))

    assert [type(body) for body in broker.sent] == [LeaseServing, RetireNotebook, LeaseEnded]
    assert logs == []


@pytest.mark.parametrize(
    ("granted", "event"),
    [
        (CLAIMED, "lease.ordered"),
        (SERVING, "lease.served"),
        (ENDED, "lease.ended"),
        (WAITING, "lease.waiting"),
    ],
)
async def test_a_decision_is_told_when_the_broker_is_away_too(granted: Granted, event: str) -> None:
    made = effects(FakeBroker(Unavailable("away")))
    failed = False
    with capture_logs() as logs:
        try:
            await made.apply(granted)
        except Unavailable:
            failed = True

    assert len(told(logs, event)) == 1
    assert failed == (granted is not WAITING)


async def test_an_agent_that_has_no_queue_yet_does_not_make_the_request_fail() -> None:
    with capture_logs() as logs:
        await effects(FakeBroker(Unroutable("node1"))).apply(CLAIMED)

    assert told(logs, "command.unroutable")


async def test_a_row_whose_order_no_message_can_carry_stops_no_other_one() -> None:
    """A sweep gives many orders in a row: the poisonous one is told and passed over."""
    with capture_logs() as logs:
        await effects(FakeBroker(BadMessage("70000 bytes", reason="oversized"))).again(CLAIMED)

    assert told(logs, "message.impossible")


async def test_an_agent_s_stage_names_cannot_break_the_line() -> None:
    with capture_logs() as logs:
        await effects(FakeBroker()).apply(SERVING, stages={"event": 1.0, "lease": 2.0})

    (line,) = told(logs, "lease.served")
    assert line["stages"]["lease"] == 2.0
    assert line["lease"] == L1
