"""The judge and the figures of `scripts/bench leases`: what is wrong must be seen."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import cpu, lease_plot, lease_table, leases
from benchmarks.lease_load import Lease, Load
from benchmarks.lease_result import Result
from benchmarks.lease_stage import Size
from benchmarks.lease_verdict import Verdict, judge
from benchmarks.simulated.apart import NAME, Apart
from benchmarks.simulated.ledger import Activation, Ledger, read
from scripts.stack.screen import Trouble

SERVED = Lease(lease="l1", ms=12.5, notebook="n1")
ACTIVATED = Activation(notebook="n1", lease="l1")


def test_a_run_in_which_everybody_got_their_own_is_good() -> None:
    released_early = Activation(notebook="n2", lease="l2")

    assert judge([SERVED], [ACTIVATED, released_early]) == Verdict()
    assert judge([SERVED], [ACTIVATED]).good


def test_a_notebook_that_two_leases_were_told_is_doubled() -> None:
    verdict = judge([SERVED, Lease(lease="l2", ms=1, notebook="n1")], [ACTIVATED])

    assert verdict.doubled == ("n1",)
    assert not verdict.good


def test_a_notebook_that_was_activated_twice_is_doubled_even_for_one_lease() -> None:
    assert judge([SERVED], [ACTIVATED, ACTIVATED]).doubled == ("n1",)


def test_a_notebook_that_never_heard_of_its_lease_is_doubled() -> None:
    assert judge([SERVED], []).doubled == ("n1",)
    assert judge([SERVED], [Activation(notebook="n1", lease="", refused="no")]).doubled == ("n1",)


@pytest.mark.parametrize(
    ("verdict", "what"),
    [
        (judge([Lease(lease="l1", problem="lost")], []), "lost"),
        (judge([], [], still_open=["l1"]), "lost"),
        (judge([Lease(lease="l1", problem="ended: expired")], []), "failed"),
        (judge([], [], violations=["S1 n1: leased, but its lease does not use it"]), "violations"),
        (judge([], [], quarantined=1), "quarantined"),
    ],
)
def test_what_is_wrong_has_its_name(verdict: Verdict, what: str) -> None:
    wrong = {name for name, value in verdict.as_dict().items() if value}

    assert wrong == {what}
    assert not verdict.good


def test_what_notebooks_wrote_is_read_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger-1.jsonl")
    ledger.write(ACTIVATED)
    ledger.write(Activation(notebook="n1", lease="", refused="more than one message"))
    ledger.close()

    assert read([tmp_path / "ledger-1.jsonl"]) == ledger.activations


def test_a_process_name_with_parentheses_does_not_shift_its_figures() -> None:
    stat = "4711 (a (b) c) S 42 " + "0 " * 9 + "10 20 3 4 20 0 1 0 12345"

    assert cpu.parse(stat) == (42, 37)


def test_own_cpu_time_is_counted_and_grows() -> None:
    before = cpu.seconds({"load": os.getpid()})
    while (after := cpu.seconds({"load": os.getpid()}))["load"] <= before["load"]:
        sum(range(100_000))

    assert cpu.used(before, after)["load"] > 0


def test_more_notebooks_than_a_node_holds_are_refused_with_what_to_do() -> None:
    Size(nodes=2, ready=10_000).check()
    with pytest.raises(Trouble, match="give --nodes more"):
        Size(nodes=1, ready=10_000).check()


def result(verdict: Verdict) -> Result:
    return Result(
        size=Size(nodes=2, ready=20),
        rate=5,
        open_loop=Load(leases=(SERVED, Lease(lease="l2", ms=20.0, notebook="n2")), seconds=2),
        waited=1,
        window_seconds=10,
        cpu={"postgres": 0.02, "lease-1": 0.01, "notebooks": 0.004, "load": 0.006},
        idle_cpu={"postgres": 0.01, "lease-1": 0.0},
        saturation=((1, 30.0, 40.0), (2, 55.0, 44.0), (4, 50.0, 90.0)),
        promises={"postgres": {"fsync": "on"}},
        verdict=verdict,
    )


def test_cpu_is_told_per_lease_with_the_idle_share_beside_it() -> None:
    told = result(Verdict())

    assert told.cpu_ms_per_lease == pytest.approx(20)
    assert told.idle_ms_per_lease == pytest.approx(10)


def test_the_table_has_the_best_of_the_closed_loops_and_the_quantiles(tmp_path: Path) -> None:
    path = lease_table.write(tmp_path, [result(Verdict())], {"cores": 2})
    (size,) = json.loads(path.read_text())["sizes"]
    table = (tmp_path / "leases.md").read_text()

    row = "| 2 | 20 | 2 | 20.0 | 20.0 | 20.0 | 20.0 | 1 | 20.0 | 2.0 | 3.0 | 10.0 | 55 (of 2) | 0 |"
    assert row in table
    assert (size["ms"], size["promises"]["postgres"]["fsync"]) == ([12.5, 20.0], "on")


def test_what_is_wrong_is_below_its_line() -> None:
    line = lease_table.line(result(judge([SERVED], [ACTIVATED], violations=["S1 n1: twice"])))

    assert "!! S1 n1: twice" in line


def test_throughput_counts_what_was_served_while_people_asked() -> None:
    in_time = [Lease(lease=f"l{n}", ms=5.0, at=n / 2, notebook=f"n{n}") for n in range(5)]
    late = Lease(lease="l9", ms=9000.0, at=11.0, notebook="n9")
    never = Lease(lease="l10", problem="lost")

    assert Load(leases=(*in_time, late, never), seconds=2.0).per_second == pytest.approx(2.5)


def test_a_stock_that_would_run_dry_is_refused_before_anything_starts() -> None:
    dry = ["--without-refill", "--rate", "50", "--seconds", "10", "--ready", "100"]

    with pytest.raises(Trouble, match="500 leases from 100 ready notebooks"):
        leases.sizes(leases.parse(dry))


def sized(ready: int, ms: float) -> Result:
    loop = Load(leases=(Lease(lease="l1", ms=ms, notebook="n1"),), seconds=1)
    return replace(result(Verdict()), size=Size(nodes=1, ready=ready), open_loop=loop)


def test_growth_is_the_largest_stock_beside_the_smallest() -> None:
    assert lease_table.growth([sized(10, 20.0), sized(100, 90.0), sized(1000, 30.0)]) == 1.5
    assert lease_table.growth([sized(10, 20.0), sized(10, 20.0)]) is None


def test_a_picture_is_drawn_of_all_sizes(tmp_path: Path) -> None:
    path = lease_plot.by_what_is_ready(
        [sized(10, 20.0), sized(100, 30.0)], tmp_path / "a" / "b.png"
    )

    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_grid_is_every_stock_on_every_number_of_nodes_that_can_hold_it() -> None:
    sizes = leases.sizes(leases.parse(["--grid"]))

    assert {size.ready for size in sizes} == {10, 100, 1000, 10_000}
    assert {size.nodes for size in sizes} == {1, 10, 100}
    assert len(sizes) == 11


def test_threads_are_found_by_their_name() -> None:
    apart = Apart()
    apart.open()
    try:
        apart_from_the_start = cpu.of_threads(os.getpid(), NAME)
    finally:
        apart.close()

    assert apart_from_the_start >= 0
    assert cpu.of_threads(os.getpid(), "nobody") == 0
