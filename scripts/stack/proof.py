"""One click, timed: a server for a demo user through the hub, then `1+1` in a kernel.

Run by `up` as `.venv/bin/python -m scripts.stack.proof`, used by end-to-end tests as
`spawn_and_run`. Everything goes the way a browser goes: through the proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

DEADLINE_SECONDS = 120
CODE = "1+1"


class Unproven(Exception):
    """A step of the click did not end as it must; says which, and what came instead.

    `status` is the HTTP status that came, 0 where it was not about one.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How long after the click (`POST server`) each thing had happened, in milliseconds."""

    user: str
    server: str
    answered_ms: float
    ready_ms: float
    kernel_ms: float
    connected_ms: float
    result_ms: float
    result: str
    progress: tuple[dict[str, Any], ...]


class Visit:
    """One user's dealings with one hub, on one HTTP session."""

    def __init__(self, session: aiohttp.ClientSession, url: str, user: str, server: str) -> None:
        self.session = session
        self.url = url.rstrip("/")
        self.user = user
        self.server = server

    @property
    def of_user(self) -> str:
        return f"{self.url}/hub/api/users/{quote(self.user, safe='')}"

    @property
    def of_server(self) -> str:
        named = f"/servers/{quote(self.server, safe='')}"
        return f"{self.of_user}{named if self.server else '/server'}"

    @property
    def of_notebook(self) -> str:
        name = f"/{quote(self.server, safe='')}" if self.server else ""
        return f"{self.url}/user/{quote(self.user, safe='')}{name}"

    async def make_user(self) -> None:
        await self._ask("POST", self.of_user, good=(201, 409))

    async def click(self) -> None:
        """Ask for the server; the hub answers at once or when it is there."""
        await self._ask("POST", self.of_server, good=(201, 202))

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        """What the hub says of the start, event by event, for as long as it talks."""
        async with self.session.get(exactly(f"{self.of_server}/progress")) as answer:
            if answer.status != 200:
                said = f"progress answered {answer.status}: {await answer.text()}"
                raise Unproven(said, status=answer.status)
            async for line in answer.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    async def follow(self) -> list[dict[str, Any]]:
        """The progress events of the start, until it is ready; `Unproven` if it failed."""
        events: list[dict[str, Any]] = []
        async with aclosing(self.progress()) as told:
            async for event in told:
                events.append(event)
                if event.get("ready"):
                    return events
                if event.get("failed"):
                    break
        last = events[-1].get("message") if events else "nothing"
        raise Unproven(f"the start of {self.user}'s server failed; the hub said: {last}")

    async def start_kernel(self) -> str:
        told = await self._ask("POST", f"{self.of_notebook}/api/kernels", good=(201,), json={})
        return str(told["id"])

    async def stop_server(self) -> None:
        """Stop it and wait until the hub knows no such server any more."""
        await self._ask("DELETE", self.of_server, good=(202, 204, 404))
        # The hub has no event for "stopped".
        while self.server in await self.servers():  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def servers(self) -> dict[str, Any]:
        """The user's servers that the hub knows, by name."""
        return dict((await self._ask("GET", self.of_user, good=(200,)))["servers"])

    async def _ask(self, verb: str, url: str, *, good: tuple[int, ...], **more: Any) -> Any:
        async with self.session.request(verb, exactly(url), **more) as answer:
            text = await answer.text()
        if answer.status not in good:
            said = f"{verb} {url} answered {answer.status}: {text[:500]}"
            raise Unproven(said, status=answer.status)
        return json.loads(text) if text.startswith("{") else {}


def exactly(url: str) -> URL:
    """As a browser sends it: escapes stay as they are, for the proxy compares them."""
    return URL(url, encoded=True)


class Stopwatch:
    """Milliseconds since it was made."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def __call__(self) -> float:
        return round((time.monotonic() - self.began) * 1000, 1)


def visiting(token: str, *, seconds: float = DEADLINE_SECONDS) -> aiohttp.ClientSession:
    """A session that speaks to hub and notebooks with this token; one request takes so long."""
    return aiohttp.ClientSession(
        # Many people may share it, and none of them queues behind another here.
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Authorization": f"token {token}"},
        timeout=aiohttp.ClientTimeout(total=seconds),
    )


async def spawn_and_run(
    url: str, token: str, user: str, *, server: str = "", code: str = CODE, stop: bool = True
) -> Proof:
    """Start `user`'s server through the hub at `url`, run `code`, and time every stage.

    The user is made if need be; a server that already runs is stopped first. Raises `Unproven`
    with the hub's own words, or TimeoutError.
    """
    async with asyncio.timeout(DEADLINE_SECONDS), visiting(token) as session:
        visit = Visit(session, url, user, server)
        await visit.make_user()
        await visit.stop_server()
        clock = Stopwatch()
        await visit.click()
        answered = clock()
        progress = await visit.follow()
        ready = clock()
        kernel = await visit.start_kernel()
        started = clock()
        connected, result = await run_code(visit, kernel, code, clock=clock)
        ended = clock()
        if stop:
            await visit.stop_server()
    return Proof(
        user=user,
        server=server,
        answered_ms=answered,
        ready_ms=ready,
        kernel_ms=started,
        connected_ms=connected,
        result_ms=ended,
        result=result,
        progress=tuple(progress),
    )


async def run_code(visit: Visit, kernel: str, code: str, *, clock: Stopwatch) -> tuple[float, str]:
    """Run `code` over the kernel's websocket: when it was connected, and the result's text."""
    own = uuid.uuid4().hex
    channels = f"{visit.of_notebook}/api/kernels/{kernel}/channels?session_id={own}"
    async with visit.session.ws_connect(exactly(channels), max_msg_size=0) as socket:
        connected = clock()
        await socket.send_json(_execute(code, session=own))
        async for frame in socket:
            if frame.type != aiohttp.WSMsgType.TEXT:
                break
            told = frame.json()
            if told["parent_header"].get("session") != own:
                continue
            if told["msg_type"] == "execute_result":
                return connected, str(told["content"]["data"]["text/plain"])
            if told["msg_type"] == "error":
                raise Unproven(f"{code} raised {told['content']['evalue']}")
    raise Unproven(f"the kernel's websocket closed before {code} had a result")


def _execute(code: str, *, session: str) -> dict[str, Any]:
    """Jupyter's request to execute, as its messaging specification has it."""
    return {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": session,
            "username": "demo",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "buffers": [],
        "content": {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.stack.proof", description=__doc__)
    parser.add_argument("--url", required=True, help="the hub's public address")
    parser.add_argument("--user", default="demo")
    told = parser.parse_args()
    # In the environment, because a command line can be read by everybody on the machine.
    token = os.environ["DEMO_BENCH_TOKEN"]
    try:
        proof = asyncio.run(spawn_and_run(told.url, token, told.user))
    except (Unproven, aiohttp.ClientError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(proof)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
