"""The path of one click through a real lease worker, and what may come twice, late or never."""

from __future__ import annotations

import pytest

from controlplane.messages import (
    ActivateNotebook,
    LeaseClaimed,
    LeaseEnded,
    LeaseRelease,
    LeaseServing,
    LineQuestion,
    RetireNotebook,
    RunExited,
)
from controlplane.model import EndReason, LeasePhase
from tests.lease.conftest import House
from tests.truth.stage import ask, at

pytestmark = pytest.mark.services


async def test_a_click_activates_a_warm_notebook_and_the_hub_gets_its_url(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    (notebook,) = await house.warm(1)
    await house.worker()
    request = ask()

    await hub.asks(request)
    serving = await hub.hears(LeaseServing, request.lease)

    (order,) = {command.notebook: command for command in agent.all(ActivateNotebook)}.values()
    assert (serving.notebook, serving.node) == (notebook, "node1")
    assert (serving.url, serving.cold) == ("http://127.0.0.1:20000/user/ada/", False)
    assert serving.stages.keys() >= {
        "pop", "decide", "order", "turn", "mount", "handover", "serve", "record", "total",
    }  # fmt: skip
    assert (order.user, order.prefix, order.sealed) == ("ada", "/user/ada/", "sealed-for-ada")
    assert 0 < order.budget_ms <= request.budget_ms
    assert order.epoch == 1


async def test_a_hub_hears_of_a_notebook_that_takes_its_time(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    agent.answers = lambda _: "nothing"
    (notebook,) = await house.warm(1)
    await house.worker()
    request = ask()

    await hub.asks(request)
    claimed = await hub.hears(LeaseClaimed, request.lease)

    assert (claimed.notebook, claimed.node) == (notebook, "node1")


async def test_the_sealed_environment_is_forgotten_when_it_serves(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request = ask()

    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)
    granted = await house.postgres.leases.get(request.lease)

    assert granted is not None
    assert (granted.lease.phase, granted.lease.sealed) == (LeasePhase.SERVING, None)


async def test_the_same_request_twice_has_one_effect_and_the_same_answer(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(3)
    await house.worker()
    request = ask()

    await hub.asks(request)
    first = await hub.hears(LeaseServing, request.lease)
    await hub.asks(request)
    await hub.until(lambda: len(hub.all(LeaseServing)) >= 2)

    assert {message.notebook for message in hub.all(LeaseServing)} == {first.notebook}
    assert set(agent.served) == {first.notebook}


async def test_a_lost_answer_comes_again_when_the_hub_asks(house: House) -> None:
    hub, _ = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request = ask()
    await hub.asks(request)
    first = await hub.hears(LeaseServing, request.lease)
    hub.heard.clear()

    await hub.asks(LineQuestion(lease=request.lease, hub="hub1", hub_process="hub1-a"))
    again = await hub.hears(LeaseServing, request.lease)

    assert (again.url, again.notebook) == (first.url, first.notebook)


async def test_an_order_that_nobody_answered_is_given_again(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(2)
    await house.worker()
    orders: list[str] = []

    def only_the_second_time(command: ActivateNotebook) -> str:
        orders.append(command.notebook)
        return "serve" if len(orders) > 1 else "nothing"

    agent.answers = only_the_second_time
    request = ask()

    await hub.asks(request)
    serving = await hub.hears(LeaseServing, request.lease)

    assert set(orders) == {serving.notebook}


async def test_a_release_ends_the_lease_and_retires_its_notebook(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    (notebook,) = await house.warm(1)
    await house.worker()
    request = ask()
    await hub.asks(request)
    await hub.hears(LeaseServing, request.lease)

    await hub.asks(LeaseRelease(lease=request.lease, hub="hub1", reason="stopped"))
    ended = await hub.hears(LeaseEnded, request.lease)
    await agent.until(lambda: notebook in agent.retired())

    assert ended.reason == EndReason.STOPPED


async def test_a_cancel_that_comes_before_its_request_wins(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request, later = ask(), ask("bob")

    await house.postgres.leases.release(request.lease, "hub1", EndReason.CANCELLED)
    await hub.asks(request)
    ended = await hub.hears(LeaseEnded, request.lease)
    await hub.asks(later)
    await hub.hears(LeaseServing, later.lease)

    assert ended.reason == EndReason.CANCELLED
    assert [command.lease for command in agent.all(ActivateNotebook)] == [later.lease]


async def test_a_newer_lease_of_the_same_server_ends_the_older_one(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(2)
    await house.worker()
    older, newer = ask(), ask()

    await hub.asks(older)
    first = await hub.hears(LeaseServing, older.lease)
    await hub.asks(newer)
    ended = await hub.hears(LeaseEnded, older.lease)
    second = await hub.hears(LeaseServing, newer.lease)
    await agent.until(lambda: first.notebook in agent.retired())

    assert ended.reason == EndReason.SUPERSEDED
    assert second.notebook != first.notebook


async def test_a_serving_notebook_that_dies_reaches_the_hub(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(1)
    await house.worker()
    request = ask()
    await hub.asks(request)
    serving = await hub.hears(LeaseServing, request.lease)

    await agent.says(
        RunExited(
            **at(),
            notebook=serving.notebook,
            lease=request.lease,
            exit_code=137,
            out_of_memory=True,
        )
    )
    ended = await hub.hears(LeaseEnded, request.lease)
    await agent.until(lambda: serving.notebook in agent.retired())

    assert ended.reason == EndReason.DIED
    assert "out of memory" in ended.detail


async def test_a_refused_attempt_goes_on_with_another_notebook(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(2)
    await house.worker()
    agent.answers = lambda command: "refuse" if command.attempt == 1 else "serve"
    request = ask()

    await hub.asks(request)
    serving = await hub.hears(LeaseServing, request.lease)
    first = agent.all(ActivateNotebook)[0].notebook
    await agent.until(lambda: first in agent.retired())

    assert serving.notebook != first


async def test_after_three_failed_attempts_the_lease_ends(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(5)
    await house.worker()
    agent.answers = lambda _: "fail"
    request = ask()

    await hub.asks(request)
    ended = await hub.hears(LeaseEnded, request.lease)
    used = {command.notebook for command in agent.all(ActivateNotebook)}

    assert (ended.reason, len(used)) == (EndReason.ATTEMPTS, 3)
    assert "no answer" in ended.detail


async def test_a_refusal_for_good_ends_the_lease_with_its_reason(house: House) -> None:
    hub, agent = await house.hub(), await house.agent()
    await house.warm(2)
    await house.worker()
    agent.answers = lambda _: "refuse for good"
    request = ask()

    await hub.asks(request)
    ended = await hub.hears(LeaseEnded, request.lease)

    assert ended.reason == EndReason.REFUSED
    assert len({command.notebook for command in agent.all(ActivateNotebook)}) == 1


async def test_an_agent_that_does_not_answer_loses_the_attempt(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.lease.sweeps.ACCEPT_SECONDS", 3.0)
    hub, mute = await house.hub(), await house.agent("node1")
    await house.agent("node2")
    mute.answers = lambda _: "nothing"
    await house.warm(1, "node1")
    await house.worker()
    request = ask()

    await hub.asks(request)
    await mute.until(lambda: bool(mute.all(ActivateNotebook)))
    await house.warm(3, "node2")
    serving = await hub.hears(LeaseServing, request.lease)

    assert serving.node == "node2"
    await mute.until(lambda: bool(mute.all(RetireNotebook)))
