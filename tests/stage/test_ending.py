from __future__ import annotations

from scripts.stack import ending

PROOF = {
    "ready_ms": 200.0,
    "kernel_ms": 300.0,
    "connected_ms": 310.0,
    "result_ms": 1000.0,
    "result": "2",
}
LOG = """not json
{"event": "lease.served", "user": "demo", "pop": 9.0, "decide": 9.0}
{"event": "lease.served", "user": "demo", "pop": 1.5, "decide": 2.5, "total": 100, "other": "x"}
{"event": "lease.served", "user": "ann", "pop": 7.0}
{"event": "lease.ended", "user": "demo", "pop": 8.0}
"""


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
    text = ending.screen(url="http://127.0.0.1:8000", docker="docker", told=PROOF)

    assert "http://127.0.0.1:8000" in text
    assert "ssh -N -L 8000:127.0.0.1:8000" in text
    assert "scripts/down --wipe" in text
    assert "1+1 = 2" in text


def test_inside_is_the_users_own_newest_start() -> None:
    assert ending.inside(LOG, user="demo") == [
        ("Redis: take this one", 1.5),
        ("Postgres decides", 2.5),
    ]


def test_a_start_that_no_log_tells_of_has_no_inside() -> None:
    assert ending.inside(LOG, user="bo") == []


def test_what_greenroom_did_not_take_is_the_hubs_part() -> None:
    text = ending.screen(
        url="http://h:1", docker="docker", told={**PROOF, "inside": [("a", 1.5), ("b", 2.5)]}
    )

    (hub,) = (line for line in text.splitlines() if "the hub" in line)
    assert "196.0 ms" in hub
