"""People who press Start, and what each of them saw."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from scripts.stack.proof import Stopwatch, Unproven, Visit, run_code, visiting

# Longer than forty containers started on demand take on two cores.
PATIENCE_SECONDS = 420.0
LEAVE_SECONDS = 180.0
# A hub has its own work at each of these, which is not what is measured.
PREPARED_AT_ONCE = 10


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One person's start. Milliseconds from their click; None where it did not come.

    `clicked_s` is seconds from the scene's beginning to the click.
    """

    user: str
    ready_ms: float | None
    result_ms: float | None = None
    stood_in_line: bool = False
    clicked_s: float = 0.0
    problem: str = ""


class Crowd:
    """Some people and their session with one hub. Open it with `async with`."""

    def __init__(self, url: str, token: str, users: Sequence[str]) -> None:
        self._session = visiting(token, seconds=PATIENCE_SECONDS)
        self.visits = {user: Visit(self._session, url, user, "") for user in users}

    async def __aenter__(self) -> Crowd:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def register(self) -> None:
        """Everybody exists. Raises what a visit raises."""
        turns = asyncio.Semaphore(PREPARED_AT_ONCE)

        async def one(visit: Visit) -> None:
            async with turns:
                await visit.make_user()

        await asyncio.gather(*map(one, self.visits.values()))

    async def start_all(self, *, kernels: bool = False) -> list[Seen]:
        """Everybody clicks at once; with `kernels`, everybody also runs `1+1`."""
        clock = Stopwatch()
        starts = (self.start(user, clock, kernels=kernels) for user in self.visits)
        return list(await asyncio.gather(*starts))

    async def start(self, user: str, clock: Stopwatch, *, kernels: bool = False) -> Seen:
        """One person clicks and waits; whatever goes wrong is in the answer."""
        visit, clicked = self.visits[user], clock()
        seen: dict[str, Any] = {"user": user, "ready_ms": None, "clicked_s": clicked / 1000}
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await visit.click()
                events = await visit.follow()
                seen |= {"ready_ms": round(clock() - clicked, 1)}
                seen |= {"stood_in_line": any("queue" in event for event in events)}
                if kernels:
                    kernel = await visit.start_kernel()
                    await run_code(visit, kernel, "1+1", clock=clock)
                    seen |= {"result_ms": round(clock() - clicked, 1)}
        except (Unproven, TimeoutError, aiohttp.ClientError) as error:
            seen |= {"problem": str(error)[:300] or repr(error)}
        return Seen(**seen)

    async def leave(self) -> str:
        """Everybody stops their server; says who could not, empty when all is well."""
        problems = await asyncio.gather(*(self.stop(user) for user in self.visits))
        return "; ".join(problem for problem in problems if problem)[:500]

    async def stop(self, user: str) -> str:
        """One person stops their server; what went wrong, or nothing."""
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self.visits[user].stop_server()
        except (Unproven, TimeoutError, aiohttp.ClientError) as error:
            return f"{user} could not leave: {str(error)[:200] or repr(error)}"
        return ""
