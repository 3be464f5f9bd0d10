"""What `greenroom doctor` wants to know of Redis: its version, and what our login may do."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from controlplane.errors import BadSettings, Unavailable

# Writes, reads back and removes one key of ours, as our scripts do.
_SCRIPT = """
redis.call('set', KEYS[1], '1', 'px', 5000)
local seen = redis.call('get', KEYS[1])
redis.call('del', KEYS[1])
return seen
"""


@dataclass(frozen=True, kw_only=True)
class RedisFacts:
    """`refused`: what our login may not do, or ""."""

    version: str
    refused: str


async def look(url: str, *, installation: str, timeout_seconds: float = 5.0) -> RedisFacts:
    """Raises `Unavailable`, `BadSettings` for a URL that is none."""
    try:
        redis = Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=None)
    except ValueError as error:
        raise BadSettings(f"redis_url: {error}") from None
    try:
        async with asyncio.timeout(timeout_seconds):
            await redis.ping()
            return RedisFacts(
                version=await _version(redis), refused=await _refused(redis, installation)
            )
    except TimeoutError:
        raise Unavailable(f"Redis did not answer in {timeout_seconds:g} s") from None
    except (RedisError, OSError) as error:
        raise Unavailable(f"no connection to Redis: {error}"[:300]) from None
    finally:
        await redis.aclose()


async def _version(redis: Redis) -> str:
    try:
        return str((await redis.info("server")).get("redis_version", "?"))
    except ResponseError:
        # Managed ones hide it.
        return "?"


async def _refused(redis: Redis, installation: str) -> str:
    key = f"{installation}:doctor:{secrets.token_hex(4)}"
    try:
        await redis.register_script(_SCRIPT)(keys=[key])
    except ResponseError as error:
        return str(error)[:200]
    return ""
