"""Two copies of the lease worker in this process: lanes, and no tick that audits the index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from controlplane.clients.postgres import Postgres
from controlplane.clients.rabbitmq import Broker
from controlplane.clients.redis import Index
from controlplane.settings import Settings
from tests.crashes.processes import DEADLINE_SECONDS
from tests.crashes.stage import Stage
from tests.lease.conftest import _reads
from workers import lease
from workers.loop import Reader
from workers.tools import Tools


@asynccontextmanager
async def two_workers(stage: Stage) -> AsyncIterator[Index]:
    """Instead of the stage's own lease worker; their index, which is what is asked to be."""
    told = stage.environment()
    async with AsyncExitStack() as leaving:
        for name in ("one", "two"):
            broker = await Broker.connect(
                stage.amqp_url, installation=stage.installation, source=name
            )
            leaving.push_async_callback(broker.close)
            postgres = await Postgres.connect(
                told["GREENROOM_POSTGRES_URL"], size=3, timeout_seconds=DEADLINE_SECONDS
            )
            leaving.push_async_callback(postgres.close)
            index = await Index.connect(
                told["GREENROOM_REDIS_URL"], installation=stage.installation
            )
            leaving.push_async_callback(index.close)
            tools = Tools(
                broker=broker,
                postgres=postgres,
                redis=index,
                settings=Settings(installation=stage.installation),
                log=structlog.get_logger(),
            )
            for lane in lease.work(tools).lanes:
                await _reads(Reader(broker, replace(lane, seconds=DEADLINE_SECONDS)))
        yield index
