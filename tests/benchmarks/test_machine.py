from __future__ import annotations

import pytest

from benchmarks import machine


@pytest.mark.parametrize(("notebooks", "held"), [(84, True), (204, False)])
def test_people_stay_beside_a_full_pool_only_where_memory_holds_them(
    notebooks: int, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_memory_mib", lambda: 24 * 1024)

    assert machine.holds(notebooks) is held
