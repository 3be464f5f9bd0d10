"""The engine on aiodocker. It has no timeouts of its own, so each call here brings one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import Any, TypeVar

import aiodocker
import aiohttp
from aiodocker.exceptions import DockerError

from controlplane import telemetry
from controlplane.clients.docker import answers
from controlplane.clients.docker.engine import Facts, Happening, Image, Listed, Seen
from controlplane.errors import BadSettings, Conflict, Refused, Unavailable

T = TypeVar("T")

LONGEST_LINE = 1024 * 1024
NO_CGROUP = "could not join or create cgroup"
# The engine answers 500 where another process has the port, and where its own proxy for that
# port did not start in time.
PORT_TAKEN = (
    "port is already allocated",
    "address already in use",
    "Timed out proxy starting the userland proxy",
)


class Docker:
    """`Engine` on a real one. `url` is `unix:///path` or `tcp://host:port`."""

    def __init__(self, url: str, *, seconds: float = 10.0, slow_seconds: float = 60.0) -> None:
        self._url = url
        self._seconds = seconds
        self._slow_seconds = slow_seconds
        if not url.startswith(("unix://", "tcp://")):
            raise BadSettings(f"node.docker_host = {url!r}: give unix:///path or tcp://host:port")
        self._docker = aiodocker.Docker(url)

    async def close(self) -> None:
        await self._docker.close()

    async def facts(self) -> Facts:
        return _read(answers.facts, await self._json("info"))

    async def image(self, name: str) -> Image | None:
        with suppress(_Missing):
            return _read(answers.image, await self._json(f"images/{name}/json"))
        return None

    async def ensure_network(self, name: str, config: Mapping[str, Any]) -> None:
        wanted: Mapping[str, str] = config["Labels"]
        for _ in range(2):
            with suppress(_Missing):
                found = await self._json(f"networks/{name}")
                if not answers.carries(found.get("Labels"), wanted):
                    raise Refused(
                        f"a network {name} exists and is not Greenroom's: remove it, "
                        "or give the installation or the node another name"
                    )
                return
            with suppress(Conflict):
                body = {**config, "Name": name, "CheckDuplicate": True}
                await self._json("networks/create", "POST", data=body)

    async def gateway(self, network: str) -> str | None:
        """The node's own address on this network, or None if there is no such network."""
        with suppress(_Missing):
            return _read(answers.gateway, await self._json(f"networks/{network}"))
        return None

    async def remove_network(self, name: str) -> None:
        with suppress(_Missing):
            await self._call(f"networks/{name}", "DELETE")

    async def create(self, name: str, config: Mapping[str, Any]) -> str:
        try:
            made = await self._json(
                "containers/create", "POST", params={"name": name}, data=config, slow=True
            )
        except _Missing as error:
            raise Refused(str(error)) from None
        return _read(answers.made, made)

    async def start(self, container: str) -> None:
        try:
            await self._call(f"containers/{container}/start", "POST", slow=True)
        except _Missing as error:
            raise Refused(str(error)) from None
        except Unavailable as error:
            if any(words in str(error) for words in PORT_TAKEN):
                raise Conflict(str(error)) from None
            raise

    async def inspect(self, container: str) -> Seen | None:
        with suppress(_Missing):
            return _read(answers.seen, await self._json(f"containers/{container}/json"))
        return None

    async def list(self, labels: Mapping[str, str]) -> list[Listed]:
        params = {"all": "1", "filters": _filters(labels)}
        return _read(answers.all_listed, await self._json("containers/json", params=params))

    async def set_cpu_shares(self, container: str, shares: int) -> None:
        try:
            await self._json(f"containers/{container}/update", "POST", data={"CpuShares": shares})
        except _Missing:
            return
        except Unavailable as error:
            # A rootless engine on cgroup v1 gave it no weight, so there is none to change.
            if NO_CGROUP not in str(error):
                raise

    async def stop(self, container: str, *, seconds: int) -> None:
        with suppress(_Missing):
            params = {"t": str(seconds)}
            await self._call(f"containers/{container}/stop", "POST", params=params, slow=True)

    async def remove(self, container: str) -> None:
        with suppress(_Missing):
            params = {"force": "1", "v": "1"}
            await self._call(f"containers/{container}", "DELETE", params=params, slow=True)

    async def log_tail(self, container: str, *, lines: int) -> bytes:
        params = {"stdout": "1", "stderr": "1", "tail": str(lines)}
        with suppress(_Missing):
            async with self._answer(f"containers/{container}/logs", params=params) as answer:
                return answers.frames(await answer.read())
        return b""

    async def events(
        self, labels: Mapping[str, str], *, since: int
    ) -> AsyncGenerator[Happening, None]:
        filters = _filters(labels, type="container")
        params = {"since": f"{since // 10**9}.{since % 10**9:09d}", "filters": filters}
        # No total: the stream is quiet for hours. The list every 10 s finds what it misses.
        quiet = aiohttp.ClientTimeout(total=None, sock_connect=self._seconds)
        try:
            async with self._docker._query("events", params=params, timeout=quiet) as answer:
                try:
                    async for line in _lines(answer.content):
                        yield _read(answers.happening, line)
                finally:
                    answer.close()
        except (DockerError, aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
            raise Unavailable(f"the engine's event stream broke: {error!r}"[:300]) from None
        raise Unavailable("the engine ended its event stream")

    async def _json(
        self,
        path: str,
        method: str = "GET",
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        slow: bool = False,
    ) -> Any:
        body = None if data is None else json.dumps(data)
        async with self._answer(path, method, params=params, data=body, slow=slow) as answer:
            return await answer.json(content_type=None)

    async def _call(
        self,
        path: str,
        method: str,
        *,
        params: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> None:
        async with self._answer(path, method, params=params, slow=slow) as answer:
            await answer.read()

    @asynccontextmanager
    async def _answer(
        self,
        path: str,
        method: str = "GET",
        *,
        params: Mapping[str, str] | None = None,
        data: str | None = None,
        slow: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        seconds = self._slow_seconds if slow else self._seconds
        call = answers.call_name(method, path)
        try:
            async with (
                _counted(call),
                asyncio.timeout(seconds),
                self._docker._query(path, method, params=params or {}, data=data) as answer,
            ):
                try:
                    yield answer
                finally:
                    # Read to its end, its connection went back already; else it cannot.
                    answer.close()
        except TimeoutError:
            raise Unavailable(f"{method} {path}: no answer in {seconds:g} s") from None
        except DockerError as error:
            raise _translated(error, f"{method} {path}") from None
        except (aiohttp.ClientError, ValueError, KeyError) as error:
            raise Unavailable(f"{method} {path}: {error!r}"[:500]) from None


@asynccontextmanager
async def _counted(call: str) -> AsyncIterator[None]:
    begun = perf_counter()
    try:
        yield
    except (DockerError, aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        # An absence is an answer.
        if getattr(error, "status", 0) != 404:
            telemetry.ENGINE_FAILURES.labels(call=call).inc()
        raise
    finally:
        telemetry.ENGINE_SECONDS.labels(call=call).observe(perf_counter() - begun)


class _Missing(Refused):
    """404: each caller says what that means."""


def _read(to: Callable[[Any], T], answer: Any) -> T:
    """An answer of another shape than the engine's says nothing, least of all an absence."""
    try:
        return to(answer)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise Unavailable(f"the engine answered what it never does: {error!r}"[:300]) from None


def _translated(error: DockerError, what: str) -> Exception:
    text = f"{what}: {error.message}"[:1500]
    if error.status == 404:
        return _Missing(text)
    if error.status == 409:
        return Conflict(text)
    if 400 <= error.status < 500:
        return Refused(text)
    return Unavailable(text)


def _filters(labels: Mapping[str, str], **more: str) -> str:
    wanted = {"label": [f"{name}={value}" for name, value in labels.items()]}
    return json.dumps(wanted | {name: [value] for name, value in more.items()})


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    held = b""
    async for part in stream.iter_any():
        *whole, held = (held + part).split(b"\n")
        if len(held) > LONGEST_LINE:
            raise ValueError("a line of the event stream is too long")
        for line in whole:
            if line.strip():
                yield json.loads(line)
