"""`scripts/bench leases`: the lease path alone, on simulated nodes, with everything else real.

Real: RabbitMQ, Postgres and Redis (private, below .greenroom/bench/leases, with fsync, confirms
and all barriers, read back from them and printed), the lease, refill, liveness and suspect
workers, the agent's code with its journal and its mounts, the hub's door and seal.
Simulated: Docker and the notebooks (benchmarks/simulated).

For each size, on fresh services: an open loop of --rate leases a second, evenly spaced, each
released --hold seconds after it was served, timed from when it was due until the hub hears
`lease.serving`; the CPU time of every process from the first request until the pool is full
again, so with the new notebook's creation and the old one's removal (--without-refill: until
everybody has left and nothing is on its way out, without any creation); then closed loops of
1, 2, 4 ... people without any pause until throughput stops growing. Every size is checked:
0 doubled, 0 lost, 0 failed, no invariant broken, nothing quarantined; else it ends with 1.

How it grows with what is ready, in one command, at a rate that ten notebooks last for; half an
hour, most of it creating ten thousand notebooks twice:

    scripts/bench leases --grid --plot docs/leases.png

A node holds at most 5,000 notebooks, so 10,000 on one node is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import cpu, durable, lease_plot, lease_stage, lease_table, machine
from benchmarks.lease_load import Hub, Load, hub
from benchmarks.lease_result import IDLE_SECONDS, Result
from benchmarks.lease_stage import MOST_ON_A_NODE, PLACE, POOL, Size, Stage
from benchmarks.lease_verdict import Verdict, judge
from benchmarks.simulated import ledger
from benchmarks.simulated.apart import NAME as NOTEBOOKS
from controlplane import telemetry
from controlplane.clients.rabbitmq import Broker
from scripts.stack.places import CHECKOUT
from scripts.stack.screen import Trouble, tail

GRID = {
    "ready": [10, 100, 1000, 10_000],
    "nodes": [1, 10, 100],
    "rate": 2.0,
    "seconds": 50.0,
    "hold": 0.5,
    "saturate": 0.0,
}
MOST_PEOPLE = 256
# Less than this over the best so far is no growth.
GROWTH = 1.05


def main(arguments: Sequence[str]) -> int:
    told = parse(arguments)
    # The door is a hub's: what it says while all is well is not for this screen.
    telemetry.configure("console", "warning")
    results: list[Result] = []
    try:
        for size in sizes(told):
            results.append(_one(size, told))
            print(lease_table.line(results[-1]), flush=True)
            print(lease_table.cpu_lines(results[-1]), flush=True)
    except (Trouble, TimeoutError) as trouble:
        print(f"\n{trouble}")
        if isinstance(trouble, Trouble) and trouble.log is not None:
            print("\n".join(tail(trouble.log)))
        return 1
    about = {
        **machine.told(),
        "command": " ".join(["scripts/bench", "leases", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = lease_table.write(CHECKOUT / told.out, results, about)
    print(f"\n{lease_table.markdown(results)}\n\n{path}")
    if told.plot is not None:
        print(lease_plot.by_what_is_ready(results, CHECKOUT / told.plot))
    if grown := lease_table.growth(results):
        print(f"p99 of the largest stock is {grown:.2f} x that of the smallest")
    return 0 if results and all(result.verdict.good for result in results) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench leases",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rate", type=float, default=50, help="leases a second, open loop (50)")
    parser.add_argument("--seconds", type=float, default=10, help="of the open loop (10)")
    parser.add_argument("--ready", type=int, nargs="+", default=[100], help="notebooks (100)")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1], help="simulated nodes (1)")
    parser.add_argument("--hold", type=float, default=1.0, help="seconds before release (1)")
    parser.add_argument(
        "--saturate", type=float, default=5, help="seconds of each closed loop; 0: none (5)"
    )
    parser.add_argument(
        "--without-refill",
        action="store_true",
        help="nobody refills while leases are measured: their own cost, from a stock",
    )
    parser.add_argument(
        "--grid",
        action="store_true",
        help="10 to 10,000 ready on 1, 10 and 100 nodes, 2 leases a second for 50 s, one loop",
    )
    parser.add_argument("--plot", type=Path, help="a picture of milliseconds by what is ready")
    parser.add_argument("--workers", type=int, default=1, help="lease workers (1)")
    parser.add_argument("--agents", type=int, help="processes of agents (1, or 2 for many nodes)")
    parser.add_argument("--out", type=Path, default=Path(".greenroom/bench/out"))
    told = parser.parse_args(arguments)
    return argparse.Namespace(**vars(told) | GRID) if told.grid else told


def sizes(told: argparse.Namespace) -> list[Size]:
    """What is measured, in order; `Trouble` for what cannot be."""
    found = []
    for nodes in told.nodes:
        agents = min(nodes, told.agents or 2)
        for ready in told.ready:
            if ready > MOST_ON_A_NODE * nodes and len(told.ready) * len(told.nodes) > 1:
                print(f"left out: {ready} ready on {nodes} nodes, of at most {MOST_ON_A_NODE} each")
                continue
            found.append(Size(nodes=nodes, ready=ready, workers=told.workers, agents=agents))
            found[-1].check()
            if told.without_refill and ready < told.rate * told.seconds:
                raise Trouble(
                    f"{told.rate * told.seconds:.0f} leases from {ready} ready notebooks, and "
                    "nobody refills: give --ready more, or --seconds less"
                )
    return found


def _one(size: Size, told: argparse.Namespace) -> Result:
    print(f"\n{size.ready} ready on {size.nodes} nodes: starting", flush=True)
    try:
        stage = lease_stage.start(size)
        return asyncio.run(_measured(stage, told))
    finally:
        lease_stage.stop()


async def _measured(stage: Stage, told: argparse.Namespace) -> Result:
    await stage.until_ready()
    key = stage.seal_key
    async with hub(stage.urls.amqp, stage.installation, pool=POOL, key=key) as asks:
        promises = await asyncio.to_thread(durable.read_back, PLACE, stage.urls)
        print(f"  warm; {json.dumps(promises)}", flush=True)
        if told.without_refill:
            stage.stop_refill()
        pids = stage.pids()
        idle = _seconds(pids)
        await asyncio.sleep(IDLE_SECONDS)
        before = _seconds(pids)
        clock = asyncio.get_running_loop()
        begun = clock.time()
        load = await asks.open_loop(rate=told.rate, seconds=told.seconds, hold=told.hold)
        await (stage.until_left() if told.without_refill else stage.until_ready())
        window = clock.time() - begun
        after = _seconds(pids)
        stage.start_refill()
        await stage.until_ready()
        waited = await asyncio.to_thread(durable.waited, stage.urls.postgres)
        loops = await _saturated(stage, asks, seconds=told.saturate)
    everything = [*load.leases, *(lease for _, each in loops for lease in each.leases)]
    return Result(
        size=stage.size,
        rate=told.rate,
        open_loop=load,
        waited=waited,
        window_seconds=window,
        cpu=cpu.used(before, after),
        idle_cpu=cpu.used(idle, before),
        saturation=tuple(
            (people, round(each.per_second, 1), each.quantiles()["p95_ms"])
            for people, each in loops
        ),
        promises=promises,
        verdict=await _judged(stage, everything),
    )


def _seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU by process; what stands for containers is taken out of the agents' and shown apart."""
    found = cpu.seconds(pids)
    found[NOTEBOOKS] = 0.0
    for name, pid in pids.items():
        if name.startswith("agents-"):
            theirs = cpu.of_threads(pid, NOTEBOOKS)
            found[name] -= theirs
            found[NOTEBOOKS] += theirs
    return found


async def _saturated(stage: Stage, asks: Hub, *, seconds: float) -> list[tuple[int, Load]]:
    """Twice as many people each time, until that brings nothing any more."""
    loops: list[tuple[int, Load]] = []
    people, best = 1, 0.0
    while seconds and people <= MOST_PEOPLE:
        loops.append((people, await asks.closed_loop(people=people, seconds=seconds)))
        await stage.until_ready()
        grown = loops[-1][1].per_second
        if grown < best * GROWTH:
            break
        people, best = people * 2, max(best, grown)
    return loops


async def _judged(stage: Stage, leases: Sequence[Any]) -> Verdict:
    postgres = await stage.postgres()
    broker = await Broker.connect(
        stage.urls.amqp, installation=stage.installation, source=f"judge.{os.getpid()}"
    )
    try:
        violations = [f"{v.invariant} {v.key}: {v.detail}" for v in await postgres.violations()]
        still_open = [lease.lease for lease in await postgres.leases.list(open_only=True)]
        quarantined = len(await broker.quarantined())
    finally:
        await broker.close()
        await postgres.close()
    return judge(
        leases,
        ledger.read(stage.ledgers),
        still_open=still_open,
        violations=violations,
        quarantined=quarantined,
    )
