"""Whether a run is worth its figures: nobody lost, no notebook given twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.lease_load import Lease
from benchmarks.simulated.ledger import Activation


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Ids of notebooks and leases, and sentences; all empty when all is well."""

    doubled: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    quarantined: int = 0

    @property
    def good(self) -> bool:
        return not (self.doubled or self.lost or self.failed or self.violations or self.quarantined)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    leases: Iterable[Lease],
    activations: Iterable[Activation],
    *,
    still_open: Iterable[str] = (),
    violations: Iterable[str] = (),
    quarantined: int = 0,
) -> Verdict:
    """Compare what the hub heard, what the notebooks wrote, and what Postgres holds afterwards.

    Doubled: a notebook with two leases, by the hub's answers or by its own word; or a lease
    whose notebook never heard of it. Lost: neither served nor ended with a reason, or open
    in Postgres (`still_open`) when everybody has left.
    """
    leases = list(leases)
    holders: defaultdict[str, set[str]] = defaultdict(set)
    activated: defaultdict[str, list[str]] = defaultdict(list)
    for activation in activations:
        if not activation.refused:
            holders[activation.notebook].add(activation.lease)
            activated[activation.notebook].append(activation.lease)
    for lease in leases:
        if lease.notebook:
            holders[lease.notebook].add(lease.lease)
    twice = {notebook for notebook, held in holders.items() if len(held) > 1}
    twice |= {notebook for notebook, held in activated.items() if len(held) > 1}
    served = {lease.notebook for lease in leases if lease.notebook}
    return Verdict(
        doubled=tuple(sorted(twice | (served - activated.keys()))),
        lost=tuple(sorted({x.lease for x in leases if x.problem == "lost"} | set(still_open))),
        failed=tuple(x.problem for x in leases if x.problem and x.problem != "lost"),
        violations=tuple(violations),
        quarantined=quarantined,
    )
