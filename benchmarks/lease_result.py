"""What `scripts/bench leases` found at one size; table and plot are made of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.lease_load import Load
from benchmarks.lease_stage import Size
from benchmarks.lease_verdict import Verdict
from benchmarks.simulated.apart import NAME as NOTEBOOKS

# How long the processes are looked at before anybody asks.
IDLE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Result:
    """One size's figures. CPU in seconds by process, over `window_seconds`."""

    size: Size
    rate: float
    open_loop: Load
    waited: int
    window_seconds: float
    cpu: dict[str, float]
    idle_cpu: dict[str, float]
    saturation: tuple[tuple[int, float, float], ...]
    promises: dict[str, Any]
    verdict: Verdict

    @property
    def cpu_ms_per_lease(self) -> float:
        return 1000 * sum(self.cpu.values()) / max(1, len(self.open_loop.leases))

    def part_ms_per_lease(self, process: str) -> float:
        """Of the simulated notebooks, which stand for containers, or of the hub that asks."""
        return 1000 * self.cpu.get(process, 0.0) / max(1, len(self.open_loop.leases))

    @property
    def idle_ms_per_lease(self) -> float:
        """What the same processes would have used in that time if nobody had asked."""
        idle = sum(self.idle_cpu.values()) / IDLE_SECONDS * self.window_seconds
        return 1000 * idle / max(1, len(self.open_loop.leases))

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self.size),
            "rate": self.rate,
            "served": len(self.open_loop.served_ms),
            **self.open_loop.quantiles(),
            "waited": self.waited,
            "cpu_ms_per_lease": round(self.cpu_ms_per_lease, 2),
            "notebooks_ms_per_lease": round(self.part_ms_per_lease(NOTEBOOKS), 2),
            "hub_ms_per_lease": round(self.part_ms_per_lease("load"), 2),
            "idle_ms_per_lease": round(self.idle_ms_per_lease, 2),
            "cpu_seconds": self.cpu,
            "idle_cpu_seconds": self.idle_cpu,
            "saturation": self.saturation,
            "promises": self.promises,
            "verdict": self.verdict.as_dict(),
            "ms": self.open_loop.served_ms,
        }
