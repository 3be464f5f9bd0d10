"""What a doctor is asked to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from controlplane.model import PoolSpec


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to look at. `pools` None: ask Postgres for them where it answers."""

    control: bool = False
    node: bool = False
    image: str | None = None
    hubs: tuple[str, ...] = ()
    hub_config: Path | None = None
    hub_python: str | None = None
    pools: tuple[PoolSpec, ...] | None = None

    @property
    def engine(self) -> bool:
        """Does anything of it need the Docker engine?"""
        return self.node or self.image is not None or bool(self.hubs)
