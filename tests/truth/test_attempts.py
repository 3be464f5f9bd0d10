"""What happens to a lease after it was claimed, and how it ends."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.clients.postgres import Granted, Postgres
from controlplane.errors import Refused
from controlplane.messages import RunExited
from controlplane.model.phases import EndReason, LeasePhase, NotebookPhase
from tests.truth import stage
from tests.truth.conftest import Owner


async def fail(
    postgres: Postgres, granted: Granted, *, terminal: bool = False, attempt: int | None = None
) -> Granted | None:
    assert granted.notebook is not None
    return await postgres.leases.attempt_failed(
        granted.lease.lease,
        attempt or granted.lease.attempt,
        granted.notebook.notebook,
        reason="no_socket",
        detail="nobody listens",
        terminal=terminal,
    )


def exited(granted: Granted) -> RunExited:
    assert granted.notebook is not None
    return RunExited(
        **stage.at(granted.notebook.node),
        notebook=granted.notebook.notebook,
        lease=granted.lease.lease,
        exit_code=137,
        out_of_memory=True,
    )


async def test_a_served_lease_has_its_url_and_no_seal_any_more(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres)

    served = await postgres.leases.serve(stage.activated(granted, stages={"api": 80.0}))

    assert served is not None
    assert served.lease.phase is LeasePhase.SERVING
    assert served.lease.url == "http://127.0.0.1:20001/user/ada/"
    assert served.lease.sealed is None
    assert owner.run("select sealed, stages->>'api' from leases") == [(None, "80.0")]


async def test_who_is_on_the_backup_is_in_the_row_and_in_the_event(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres)

    served = await postgres.leases.serve(stage.activated(granted, home="backup-ro"))

    assert served is not None
    assert served.lease.home == "backup-ro"
    assert owner.run(
        "select change ->> 'home' from events where entity = 'lease' and phase = 'serving'"
    ) == [("backup-ro",)]


async def test_served_again_is_the_same_row(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)
    report = stage.activated(granted)
    first = await postgres.leases.serve(report)

    again = await postgres.leases.serve(report)

    assert first is not None
    assert again is not None
    assert again.lease == first.lease


@pytest.mark.parametrize("wrong", ["attempt", "notebook", "lease"])
async def test_an_activation_that_does_not_match_serves_nobody(
    postgres: Postgres, wrong: str
) -> None:
    granted = await stage.claimed(postgres, spare=1)
    changes = {"attempt": 2, "notebook": stage.new_id(), "lease": stage.new_id()}

    served = await postgres.leases.serve(stage.activated(granted, **{wrong: changes[wrong]}))

    assert served is None
    now = await postgres.leases.get(granted.lease.lease)
    assert now is not None
    assert now.lease == granted.lease
    assert await stage.phase_of(postgres, granted.lease.notebook) is NotebookPhase.LEASED


async def test_a_late_activation_never_touches_the_notebook_of_another_lease(
    postgres: Postgres,
) -> None:
    theirs = await stage.claimed(postgres, "bob")
    mine = await postgres.leases.request(stage.ask("ada"))
    assert theirs.notebook is not None

    served = await postgres.leases.serve(
        stage.activated(theirs, lease=mine.lease.lease, attempt=mine.lease.attempt)
    )

    assert served is None
    assert await stage.phase_of(postgres, theirs.notebook.notebook) is NotebookPhase.LEASED


async def test_an_activation_after_the_end_leaves_the_notebook_retiring(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres)
    await postgres.leases.release(granted.lease.lease, "hub1", EndReason.CANCELLED)

    served = await postgres.leases.serve(stage.activated(granted))

    assert served is None
    assert await stage.phase_of(postgres, granted.lease.notebook) is NotebookPhase.RETIRING


async def test_a_leased_notebook_that_its_lease_left_is_retired_by_its_report(
    postgres: Postgres, owner: Owner
) -> None:
    granted = await stage.claimed(postgres)
    with owner.without_triggers():
        owner.run("update leases set phase = 'ended', reason = 'admin', sealed = null")

    served = await postgres.leases.serve(stage.activated(granted))

    assert served is None
    assert await stage.phase_of(postgres, granted.lease.notebook) is NotebookPhase.RETIRING


async def test_a_failed_attempt_is_followed_by_the_next_on_another_notebook(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres, spare=1)

    moved = await fail(postgres, granted)

    assert moved is not None
    assert moved.lease.phase is LeasePhase.CLAIMED
    assert moved.lease.attempt == 2
    assert moved.lease.place == granted.lease.place
    assert moved.lease.sealed == granted.lease.sealed
    assert moved.lease.notebook != granted.lease.notebook
    assert [r.notebook for r in moved.retired] == [granted.lease.notebook]
    assert moved.retired[0].reason == "no_socket"


async def test_without_another_notebook_it_waits_at_its_place(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)
    behind = await postgres.leases.request(stage.ask("bob"))

    moved = await fail(postgres, granted)
    await stage.warm(postgres)
    matched = await postgres.leases.match("demo")

    assert moved is not None
    assert moved.lease.phase is LeasePhase.WAITING
    assert moved.lease.notebook is None
    assert moved.lease.place < behind.lease.place
    assert [m.lease.lease for m in matched] == [granted.lease.lease]


async def test_the_next_attempt_does_not_jump_the_line(postgres: Postgres) -> None:
    await stage.house(postgres)
    ahead = await postgres.leases.request(stage.ask("ada"))
    await stage.warm(postgres)
    behind = await postgres.leases.request(stage.ask("bob"))
    [first] = await postgres.leases.match("demo")
    await stage.warm(postgres)
    [second] = await postgres.leases.match("demo")
    waiting = await fail(postgres, first)
    await stage.warm(postgres)

    moved = await fail(postgres, second)

    assert first.lease.lease == ahead.lease.lease
    assert waiting is not None
    assert moved is not None
    assert moved.lease.lease == behind.lease.lease
    assert moved.lease.phase is LeasePhase.WAITING


async def test_three_failed_attempts_end_the_lease(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres, spare=3)

    second = await fail(postgres, granted)
    assert second is not None
    third = await fail(postgres, second)
    assert third is not None
    ended = await fail(postgres, third)

    assert ended is not None
    assert ended.lease.reason is EndReason.ATTEMPTS
    assert ended.lease.detail == "no_socket: nobody listens"
    assert (await postgres.notebooks.counts())["demo"] == {"retiring": 3, "ready": 1}
    assert await postgres.violations() == []


async def test_what_another_notebook_would_refuse_as_well_ends_the_lease(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres, spare=1)

    ended = await fail(postgres, granted, terminal=True)

    assert ended is not None
    assert ended.lease.reason is EndReason.REFUSED
    assert (await postgres.notebooks.counts())["demo"] == {"retiring": 1, "ready": 1}


async def test_a_refusal_reported_again_is_told_again(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)
    ended = await fail(postgres, granted, terminal=True)

    again = await fail(postgres, granted, terminal=True)

    assert ended is not None
    assert again is not None
    assert again.lease == ended.lease


async def test_a_failure_of_an_earlier_attempt_changes_nothing(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres, spare=1)
    moved = await fail(postgres, granted)
    assert moved is not None

    again = await fail(postgres, granted)

    assert again is None
    now = await postgres.leases.get(granted.lease.lease)
    assert now is not None
    assert now.lease == moved.lease


async def test_a_serving_lease_whose_notebook_exited_died(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)
    await postgres.leases.serve(stage.activated(granted))

    ended = await postgres.leases.exited(exited(granted))

    assert ended is not None
    assert ended.lease.reason is EndReason.DIED
    assert ended.lease.detail == "exit code 137, out of memory"
    assert [r.phase for r in ended.retired] == [NotebookPhase.RETIRING]


async def test_what_was_reported_again_is_told_again_and_changes_nothing(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres)
    await postgres.leases.serve(stage.activated(granted))
    ended = await postgres.leases.exited(exited(granted))

    again = await postgres.leases.exited(exited(granted))

    assert ended is not None
    assert again is not None
    assert again.lease == ended.lease
    assert again.retired == ()


async def test_a_claimed_lease_whose_notebook_exited_tries_the_next(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres, spare=1)

    moved = await postgres.leases.exited(exited(granted))

    assert moved is not None
    assert moved.lease.phase is LeasePhase.CLAIMED
    assert moved.lease.attempt == 2


async def test_an_exit_seen_before_the_notebook_was_ready_changes_nothing(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres)
    old = exited(granted).model_copy(update={"epoch": 0})

    assert await postgres.leases.exited(old) is None

    now = await postgres.leases.get(granted.lease.lease)
    assert now is not None
    assert now.lease == granted.lease


async def test_a_release_ends_the_lease_and_retires_its_notebook(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)
    await postgres.leases.serve(stage.activated(granted))

    ended = await postgres.leases.release(granted.lease.lease, "hub1", EndReason.STOPPED)
    again = await postgres.leases.release(granted.lease.lease, "hub1", EndReason.STOPPED)

    assert ended is not None
    assert again is not None
    assert ended.lease.reason is EndReason.STOPPED
    assert [r.notebook for r in ended.retired] == [granted.lease.notebook]
    assert again.lease == ended.lease
    assert again.retired == ()


async def test_another_hub_may_not_release_it(postgres: Postgres) -> None:
    granted = await stage.claimed(postgres)

    with pytest.raises(Refused, match="belongs to another hub"):
        await postgres.leases.release(granted.lease.lease, "hub2", EndReason.STOPPED)


async def test_a_release_and_its_request_at_once_end_in_one_of_two_ways(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    for n in range(8):
        await stage.warm(postgres)
        asked = stage.ask(f"user{n}")
        await asyncio.gather(
            postgres.leases.request(asked),
            postgres.leases.release(asked.lease, asked.hub, EndReason.CANCELLED),
        )

    open_leases = await postgres.leases.list()
    assert open_leases == []
    assert await postgres.violations() == []


async def test_the_journal_tells_a_lease_from_request_to_end_without_its_seal(
    postgres: Postgres,
) -> None:
    granted = await stage.claimed(postgres)
    await postgres.leases.serve(stage.activated(granted))
    await postgres.leases.release(granted.lease.lease, "hub1", EndReason.STOPPED)

    told = await postgres.leases.trace(granted.lease.lease)

    phases = [event["phase"] for event in told if event["entity"] == "lease"]
    assert phases == ["claimed", "serving", "ended"]
    assert [e["phase"] for e in told if e["entity"] == "notebook"][-2:] == ["leased", "retiring"]
    assert "sealed" not in str(told)


async def test_an_unknown_lease_is_none(postgres: Postgres) -> None:
    assert await postgres.leases.get(stage.new_id()) is None
