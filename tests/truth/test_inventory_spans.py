"""Each part of an inventory speaks for its own ids, in any order, to any copy of a worker."""

from __future__ import annotations

from controlplane.clients.postgres import Granted, Postgres
from controlplane.messages import EVERY_ID, NodeInventory
from controlplane.model.phases import EndReason, LeasePhase, NotebookPhase
from tests.truth import stage


def part(
    held: list[str], between: tuple[str, str], about: dict[str, object], *, number: int = 1
) -> NodeInventory:
    return NodeInventory.model_validate(
        about
        | {
            "inventory": "i1",
            "part": number,
            "parts": 2,
            "between": between,
            "held": [{"notebook": id, "pool": "demo", "state": "ready"} for id in held],
        }
    )


def halves(middle: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (EVERY_ID[0], middle), (middle, EVERY_ID[1])


async def test_what_a_part_leaves_out_of_its_span_is_gone_and_nothing_else(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    low, middle, high = sorted([await stage.warm(postgres) for _ in range(3)])
    first, second = halves(middle)
    about = stage.at()

    moved = await postgres.notebooks.inventory(part([middle], second, about, number=2))

    assert [(n.notebook, n.phase) for n in moved] == [(high, NotebookPhase.GONE)]
    assert await stage.phase_of(postgres, low) is NotebookPhase.READY
    moved = await postgres.notebooks.inventory(part([low], first, about))
    assert moved == []
    assert await stage.phase_of(postgres, low) is NotebookPhase.READY


async def test_all_parts_of_one_stamp_count_and_again_they_change_nothing(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    low, high = sorted([await stage.warm(postgres) for _ in range(2)])
    parts = [part([], span, stage.at()) for span in halves(high)]
    parts = [each.model_copy(update={"seq": parts[0].seq}) for each in parts]

    moved = [await postgres.notebooks.inventory(each) for each in (*parts, *parts)]

    assert [[n.notebook for n in each] for each in moved] == [[low], [high], [], []]


async def test_a_part_of_an_older_inventory_changes_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    only = await stage.warm(postgres)
    older, newer = stage.at(), stage.at()
    await postgres.notebooks.inventory(part([only], EVERY_ID, newer))

    moved = await postgres.notebooks.inventory(part([], EVERY_ID, older))

    assert moved == []
    assert await stage.phase_of(postgres, only) is NotebookPhase.READY


async def test_parts_of_an_agent_without_spans_end_nothing(postgres: Postgres) -> None:
    await stage.house(postgres)
    await stage.warm(postgres)
    served = await stage.serving(postgres, "ada")
    silent = part([], EVERY_ID, stage.at()).model_copy(update={"between": None})

    assert await postgres.notebooks.inventory(silent) == []
    assert await postgres.leases.inventory(silent) == []
    still = await postgres.leases.get(served.lease.lease)
    assert still is not None
    assert still.lease.phase is LeasePhase.SERVING


async def test_somebody_whose_notebook_vanished_is_told_by_the_part_of_its_span(
    postgres: Postgres,
) -> None:
    await stage.house(postgres)
    people = []
    for user in ("ada", "bob"):
        await stage.warm(postgres)
        people.append(await stage.serving(postgres, user))
    first, second = sorted(people, key=_notebook_of)

    ended = await postgres.leases.inventory(
        part([], (EVERY_ID[0], _notebook_of(second)), stage.at())
    )

    assert [(g.lease.lease, g.lease.reason) for g in ended] == [(first.lease.lease, EndReason.DIED)]


def _notebook_of(granted: Granted) -> str:
    assert granted.notebook is not None
    return granted.notebook.notebook
