from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from benchmarks import profile
from benchmarks.inside import areas


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> areas.Clock:
    """Each look at the time is one second after the last."""
    ticks = iter(range(1000))
    told = SimpleNamespace(thread_time=lambda: 1.0, perf_counter=lambda: next(ticks))
    monkeypatch.setattr(areas, "time", told)
    return areas.Clock()


def test_an_area_is_its_own_time_without_the_areas_that_it_calls(clock: areas.Clock) -> None:
    inner = clock.timed(lambda: None, "inner")
    outer = clock.timed(lambda: [inner(), inner()], "outer")
    clock.enter("everything else")
    outer()
    found = clock.end()

    # Outer: seconds 1 to 6, of which 2 to 3 and 4 to 5 are inner's.
    assert found["inner"] == [0.0, 2000.0, 2]
    assert found["outer"] == [0.0, 3000.0, 1]
    assert found["everything else"] == [0.0, 2000.0, 1]


def test_only_what_this_image_has_is_timed(
    clock: areas.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = SimpleNamespace(there=lambda: "answer")
    monkeypatch.setattr(areas, "AREAS", (("no_such_module", "", "any"), ("json", "", "gone dumps")))
    monkeypatch.setattr(areas, "REGULAR_EXPRESSIONS", ("no_such_module", "", "compile"))
    monkeypatch.setattr(json, "dumps", here.there)
    areas.install(clock)
    clock.enter("everything else")

    assert json.dumps() == "answer"  # type: ignore[call-arg]
    assert clock.end()["json.dumps"][2] == 1


def test_the_table_has_medians_and_least_and_what_some_starts_did_not_do() -> None:
    def start(serve: float, **named: list[float]) -> dict[str, object]:
        return {"folder": "/notebook0", "serve cpu": serve, "areas": named}

    starts = [start(1, a=[4, 5, 1]), start(2, a=[6, 7, 1], b=[1, 1, 1]), start(9, a=[8, 9, 1])]
    shown = [" ".join(line.split()) for line in profile.lines(starts)]

    assert shown == [
        "serve cpu 2.0 (1.0)",
        "",
        "a (1 calls) 6.0 (4.0) wall 7.0",
        "b (0 calls) 0.0 (0.0) wall 0.0",
        "all areas: the main thread 7.0 (4.0)",
    ]
