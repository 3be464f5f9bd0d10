"""kill -9 at each failpoint, in each process that gets there: nobody loses anything by it."""

from __future__ import annotations

import pytest

from controlplane import failpoints
from tests.crashes.stage import Stage
from tests.crashes.stories import story_of

pytestmark = [pytest.mark.services, pytest.mark.asyncio(loop_scope="module")]


@pytest.mark.parametrize(
    ("point", "process"),
    [pytest.param(*case, id="-".join(case)) for case in failpoints.cases()],
)
async def test_a_crash_there_costs_nobody_anything(stage: Stage, point: str, process: str) -> None:
    await story_of(process, point)(stage, process, point)
