from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import jupyterhub
import pytest
from tornado.web import HTTPError

from controlplane.errors import Unavailable, Unroutable
from controlplane.messages import (
    LeaseClaimed,
    LeaseEnded,
    LeaseRelease,
    LeaseRequest,
    LeaseServing,
    LineQuestion,
    Message,
)
from controlplane.spawner import GreenroomSpawner
from controlplane.spawner import door as door_module
from controlplane.spawner import spawner as spawner_module
from controlplane.spawner.door import Door
from tests.spawner import stage


async def test_start_returns_the_url_of_a_notebook_that_serves(
    road: stage.Road, door: Door
) -> None:
    road.answer = stage.serve

    url = await stage.spawner(door).start()

    assert url == stage.URL


async def test_the_request_expires_with_its_budget(road: stage.Road, door: Door) -> None:
    road.answer = stage.serve

    await stage.spawner(door, start_timeout=100).start()

    request = await road.first(LeaseRequest)
    assert request.budget_ms == 90_000
    assert road.expires[road.sent.index(request)] == 90_000


async def test_a_served_start_runs_for_poll_and_for_the_state(road: stage.Road, door: Door) -> None:
    road.answer = stage.serve
    spawner = stage.spawner(door)

    await spawner.start()

    lease = road.all(LeaseRequest)[0].lease
    assert await spawner.poll() is None
    state = spawner.get_state()
    assert (state["lease"], state["url"]) == (lease, stage.URL)
    assert "secret-token" not in repr(state)


async def test_while_a_start_waits_poll_says_running(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    request = await road.first(LeaseRequest)

    status = await spawner.poll()

    assert status is None
    await road.tell(stage.serving(request.lease))
    await start


async def test_a_lost_answer_is_healed_by_the_question(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "FIRST_QUESTION_SECONDS", 0.01)

    def only_when_asked(message: Message) -> Iterable[Message]:
        if isinstance(message, LineQuestion):
            yield stage.serving(message.lease)

    road.answer = only_when_asked

    url = await stage.spawner(door).start()

    assert url == stage.URL
    assert len(road.all(LineQuestion)) == 1


async def test_a_request_that_nobody_answers_is_asked_again_with_its_id(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reader may stand still with it in hand, and nobody else gets it for long."""
    monkeypatch.setattr(spawner_module, "HEDGE_SECONDS", 0.01)
    monkeypatch.setattr(spawner_module, "FIRST_QUESTION_SECONDS", stage.SOON)

    def at_the_second_time(message: Message) -> Iterable[Message]:
        if len(road.all(LeaseRequest)) == 2:
            yield stage.serving(message.lease)  # type: ignore[attr-defined]  # a LeaseRequest

    road.answer = at_the_second_time

    await stage.spawner(door).start()

    first, again = road.all(LeaseRequest)
    assert again.model_copy(update={"budget_ms": first.budget_ms}) == first
    assert 0 < again.budget_ms < first.budget_ms


async def test_who_heard_of_the_request_does_not_ask_it_again(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "HEDGE_SECONDS", 0.0)
    monkeypatch.setattr(spawner_module, "FIRST_QUESTION_SECONDS", 0.01)

    def claimed_first(message: Message) -> Iterable[Message]:
        if isinstance(message, LeaseRequest):
            yield next(iter(stage.serve(message)))
        if isinstance(message, LineQuestion):
            yield stage.serving(message.lease)

    road.answer = claimed_first

    await stage.spawner(door).start()

    assert len(road.all(LeaseRequest)) == 1


async def test_a_duplicate_and_a_late_answer_change_nothing(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    lease = (await road.first(LeaseRequest)).lease
    await road.tell(stage.serving(lease))
    await road.tell(stage.serving(lease, "http://10.9.9.9:1"))
    await road.tell(LeaseClaimed(lease=lease, attempt=2, notebook=stage.NOTEBOOK, node="n2"))

    url = await start

    assert url == stage.URL
    assert spawner.get_state()["url"] == stage.URL


async def test_the_answer_of_an_older_lease_is_not_taken_for_this_one(
    road: stage.Road, door: Door
) -> None:
    spawner = stage.spawner(door)
    older = asyncio.create_task(spawner.start())
    first = (await road.first(LeaseRequest)).lease
    older.cancel()
    await asyncio.gather(older, return_exceptions=True)
    newer = asyncio.create_task(spawner.start())
    second = (await road.until(lambda: road.all(LeaseRequest)[1:]))[0].lease
    await road.tell(stage.serving(first, "http://10.9.9.9:1"))
    await road.tell(LeaseEnded(lease=first, reason="cancelled"))
    await road.tell(stage.serving(second))

    url = await newer

    assert url == stage.URL


async def test_a_lease_that_ends_without_serving_is_a_refusal_with_its_reason(
    road: stage.Road, door: Door
) -> None:
    def refuse(message: Message) -> Iterable[Message]:
        if isinstance(message, LeaseRequest):
            yield LeaseEnded(lease=message.lease, reason="refused", detail="no such pool")

    road.answer = refuse
    spawner = stage.spawner(door)

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert caught.value.status_code == 400
    assert "no such pool" in caught.value.jupyterhub_message
    assert await spawner.poll() == 0
    assert road.all(LeaseRelease) == []


async def test_a_dry_pool_asks_to_come_back(road: stage.Road, door: Door) -> None:
    def expire(message: Message) -> Iterable[Message]:
        if isinstance(message, LeaseRequest):
            yield LeaseEnded(lease=message.lease, reason="expired")

    road.answer = expire

    with pytest.raises(HTTPError) as caught:
        await stage.spawner(door).start()

    assert caught.value.status_code == 503
    assert int(caught.value.headers["Retry-After"]) > 0


async def test_nobody_answers_at_all_and_the_start_still_ends(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module.asking, "budget", lambda timeout: 0.02)
    spawner = stage.spawner(door)

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert caught.value.status_code == 503
    assert road.all(LeaseRelease)[0].lease == road.all(LeaseRequest)[0].lease


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (Unavailable("no connection"), "connection to RabbitMQ is down"),
        (Unroutable("no queue"), "start a lease worker"),
    ],
)
async def test_without_a_broker_a_start_fails_with_a_reason(
    road: stage.Road,
    door: Door,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
    says: str,
) -> None:
    monkeypatch.setattr(door_module, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(door_module, "AGAIN_SECONDS", 0.01)
    road.broken = trouble

    with pytest.raises(HTTPError) as caught:
        await stage.spawner(door).start()

    assert caught.value.status_code == 503
    assert says in caught.value.jupyterhub_message


def test_without_a_broker_the_time_to_fail_is_below_five_seconds() -> None:
    assert door_module.ASK_SECONDS + spawner_module.GIVE_UP_SECONDS < 5


async def test_a_start_that_fails_without_a_broker_does_not_wait_for_its_release(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "ASK_SECONDS", 0.05)
    monkeypatch.setattr(door_module, "RELEASE_SECONDS", 3600.0)
    hangs, released = asyncio.Event(), asyncio.Event()

    async def publish(body: Message, *_: object, **__: object) -> None:
        if isinstance(body, LeaseRelease):
            await hangs.wait()
            released.set()
        else:
            raise Unavailable("no connection")

    monkeypatch.setattr(road, "publish", publish)
    spawner = stage.spawner(door)

    async with asyncio.timeout(stage.SOON):
        with pytest.raises(HTTPError):
            await spawner.start()
    hangs.set()
    async with asyncio.timeout(stage.SOON):
        await released.wait()


async def test_a_request_that_was_not_confirmed_is_sent_again_with_the_same_id(
    road: stage.Road, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(door_module, "ASK_SECONDS", stage.SOON)
    sent: list[str] = []

    def fail_once(message: Message) -> Iterable[Message]:
        if isinstance(message, LeaseRequest):
            sent.append(message.lease)
            if len(sent) == 1:
                raise Unavailable("not confirmed in 2 s")
            yield stage.serving(message.lease)

    road.answer = fail_once

    await stage.spawner(door).start()

    assert len(sent) == 2
    assert sent[0] == sent[1]


async def test_a_cancelled_start_releases_its_lease(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    request = await road.first(LeaseRequest)

    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    release = road.all(LeaseRelease)[0]
    assert (release.lease, release.reason) == (request.lease, "cancelled")
    assert await spawner.poll() == 0


async def test_a_release_that_the_broker_does_not_take_is_sent_later(
    road: stage.Road, door: Door
) -> None:
    spawner = stage.spawner(door)
    start = asyncio.create_task(spawner.start())
    request = await road.first(LeaseRequest)
    road.broken = Unavailable("gone")
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    road.broken = None

    await door.greet()

    assert [release.lease for release in road.all(LeaseRelease)] == [request.lease]


async def test_stages_are_logged_in_one_line(
    road: stage.Road, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def with_stages(message: Message) -> Iterable[Message]:
        if isinstance(message, LeaseRequest):
            yield LeaseServing(
                lease=message.lease,
                notebook=stage.NOTEBOOK,
                node="n1",
                url=stage.URL,
                stages={"activation": 91.0},
            )

    road.answer = with_stages
    caplog.set_level("INFO")
    logging_spawner = stage.spawner(door)
    logging_spawner.log = __import__("logging").getLogger("hub")

    await logging_spawner.start()

    lines = [r.getMessage() for r in caplog.records if "lease.serving" in r.getMessage()]
    assert len(lines) == 1
    assert "'activation': 91.0" in lines[0]


class Counting:
    """How a hub counts failed starts: after each one, by a callback of its future.

    JupyterHub 5 counts every error, 6 none that is a refusal.
    """

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.aborted = False

    def press(self, spawner: GreenroomSpawner) -> asyncio.Future[str]:
        """Start it as `spawn_single_user` does."""
        spawner.handler = self
        starting = spawner._spawn_future = asyncio.ensure_future(spawner.start())
        starting.add_done_callback(lambda done: self._track(spawner, done))
        return starting

    def _track(self, spawner: GreenroomSpawner, done: asyncio.Future[str]) -> None:
        if done.exception() is None:
            self.settings["failure_count"] = 0
            return
        counted = jupyterhub.version_info < (6,)
        count = self.settings["failure_count"] = self.settings.get("failure_count", 0) + counted
        limit = spawner.consecutive_failure_limit
        self.aborted |= bool(limit and count >= limit)


async def test_refusals_and_a_success_among_them_never_reach_the_limit_of_failures(
    road: stage.Road, door: Door
) -> None:
    """A success sets the hub's count to zero while refusals are on their way to be counted."""
    hub = Counting()
    refused = [stage.spawner(door, user=f"user{n}", port=1) for n in range(20)]
    road.answer = stage.serve
    starts = [hub.press(spawner) for spawner in refused[:10]]
    starts.append(hub.press(stage.spawner(door)))
    starts += [hub.press(spawner) for spawner in refused[10:]]

    outcomes = await asyncio.gather(*starts, return_exceptions=True)

    assert sum(isinstance(outcome, HTTPError) for outcome in outcomes) == 20
    assert not hub.aborted
    assert hub.settings["failure_count"] == 0


async def test_a_refusal_leaves_the_failures_of_others_counted(
    road: stage.Road, door: Door
) -> None:
    hub = Counting()
    hub.settings["failure_count"] = 3

    await asyncio.gather(hub.press(stage.spawner(door, port=1)), return_exceptions=True)

    assert hub.settings["failure_count"] == 3
