"""What goes wrong with a broker, in our words: the only place that names driver errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aio_pika.exceptions import ChannelNotFoundEntity, PublishError

from controlplane.errors import GreenroomError, Unavailable, Unroutable

CONNECT_SECONDS = 5.0
CALL_SECONDS = 5.0
PUBLISH_SECONDS = 2.0


@asynccontextmanager
async def translated(what: str, seconds: float) -> AsyncIterator[None]:
    """Bound the body's time and turn what the driver raises into `Unavailable` or `Unroutable`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except GreenroomError:
        raise
    except PublishError:
        raise Unroutable(f"{what}: no queue takes it; `greenroom topology apply`") from None
    except ChannelNotFoundEntity as error:
        raise Unroutable(f"{what}: {error}; `greenroom topology apply` declares it") from None
    except TimeoutError:
        raise Unavailable(f"{what}: the broker did not answer in {seconds:g} s") from None
    except asyncio.CancelledError:
        if _cancelled_by_us():
            raise
        raise Unavailable(f"{what}: the connection was closed") from None
    except Exception as error:  # noqa: BLE001 aiormq rejects what is pending with bare Exception
        raise Unavailable(f"{what}: {type(error).__name__} {error}"[:500]) from None


def _cancelled_by_us() -> bool:
    # A closing channel cancels futures that we await; nobody asked this task to stop then.
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


class Backoff:
    """Seconds to wait before the next try: doubling, and starting over after a success."""

    def __init__(self, first: float = 0.1, most: float = 5.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    def next(self) -> float:
        """Seconds to wait now."""
        now, self._next = self._next, min(self._next * 2, self._most)
        return now

    def reset(self) -> None:
        """It went well."""
        self._next = self._first
