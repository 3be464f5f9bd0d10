from __future__ import annotations

from scripts.stack import ending

PROOF = {"ready_ms": 200.0, "kernel_ms": 300.0, "connected_ms": 310.0, "result_ms": 1000.0}


def test_stages_are_the_time_between_two_marks() -> None:
    assert [ms for _, ms in ending.stages_of(PROOF)] == [200, 100, 10, 690]


def test_each_bar_begins_where_the_one_before_ended() -> None:
    first, second = ending.bars([("a", 50), ("b", 50)])

    assert first.count("█") == second.count("█") == ending.BAR_CELLS // 2
    assert second.index("█") == first.rindex("█") + 1


def test_a_stage_too_short_to_see_still_has_a_bar() -> None:
    short, _ = ending.bars([("a", 0.01), ("b", 1000)])

    assert short.endswith("▏")


def test_stages_that_took_no_time_are_drawn() -> None:
    assert ending.bars([("a", 0.0)])


def test_the_screen_has_url_tunnel_and_how_to_stop() -> None:
    text = ending.screen(url="http://127.0.0.1:8000", proof=PROOF, inside=[], result="2")

    assert "http://127.0.0.1:8000" in text
    assert "ssh -N -L 8000:127.0.0.1:8000" in text
    assert "scripts/down --wipe" in text
    assert "1+1 = 2" in text
