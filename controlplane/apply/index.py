"""What Postgres holds ready, into Redis: every 5 s, and by `greenroom db rebuild-index`."""

from __future__ import annotations

import asyncio

from controlplane.clients.postgres import Postgres
from controlplane.clients.redis import Index
from controlplane.decide.lease import offer
from controlplane.errors import Unavailable


async def audit(postgres: Postgres, index: Index) -> dict[str, int] | None:
    """Make the index hold exactly what is ready; how many by pool, None if Redis was silent.

    Raises `Unavailable` when Postgres does not answer.
    """
    ready, wanted = await postgres.notebooks.offerable(), await postgres.pools.wanted()
    # Ten thousand take longer to sort than a start may be kept waiting.
    offered = await asyncio.to_thread(offer, ready, wanted)
    if not await index.audit(offered):
        return None
    return {pool: len(notebooks) for pool, notebooks in offered.items()}


async def rebuild(postgres: Postgres, index: Index) -> dict[str, int]:
    """What `greenroom db rebuild-index` does. Raises `Unavailable` for Redis as well."""
    counted = await audit(postgres, index)
    if counted is None:
        raise Unavailable("Redis does not answer: check GREENROOM_REDIS_URL and that it runs")
    return counted
