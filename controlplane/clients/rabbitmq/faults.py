"""What goes wrong with a broker, in our words: the only place that names driver errors."""

from __future__ import annotations

import asyncio
from types import TracebackType

from aio_pika.exceptions import ChannelNotFoundEntity, PublishError

from controlplane.errors import GreenroomError, Unavailable, Unroutable

CONNECT_SECONDS = 5.0
CALL_SECONDS = 5.0
PUBLISH_SECONDS = 2.0


class translated:
    """Bound the body's time and turn what the driver raises into `Unavailable` or `Unroutable`.

    A class, as every message passes it a few times.
    """

    __slots__ = ("_limit", "_seconds", "_what")

    def __init__(self, what: str, seconds: float) -> None:
        self._what = what
        self._seconds = seconds
        self._limit = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError as late:
            error = late
        if error is not None:
            self._raise(error)

    def _raise(self, error: BaseException) -> None:
        """Ours for the driver's; nothing where the error is to go on as it is."""
        what = self._what
        match error:
            case GreenroomError():
                return
            case PublishError():
                hint = "`greenroom topology apply`"
                raise Unroutable(f"{what}: no queue takes it; {hint}") from None
            case ChannelNotFoundEntity():
                hint = "`greenroom topology apply` declares it"
                raise Unroutable(f"{what}: {error}; {hint}") from None
            case TimeoutError():
                late = f"the broker did not answer in {self._seconds:g} s"
                raise Unavailable(f"{what}: {late}") from None
            case asyncio.CancelledError():
                if not _cancelled_by_us():
                    raise Unavailable(f"{what}: the connection was closed") from None
            case Exception():  # aiormq rejects what is pending with bare Exception
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
