"""From a spawner at the moment of `start()` to the request that travels: checks, then seals.

Everything that can be wrong before anybody is asked is refused here, with what, why and
what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError
from tornado.web import HTTPError

from controlplane.messages import LeaseRequest
from controlplane.model.identity import Identity
from controlplane.seal import Contents, Seal
from controlplane.spawner import hub_url
from controlplane.spawner.refusal import refusal

SEALED_AT_MOST = 48 * 1024
# The seal outlives the budget, so that a slow last step is not refused for its age.
SEAL_GRACE_SECONDS = 60
# What a message may say.
BUDGET_AT_MOST = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Start:
    """What one start is about."""

    lease: str
    hub: str
    hub_process: str
    user: str
    server: str
    prefix: str
    pool: str
    groups: tuple[str, ...]
    budget_seconds: float
    identity: Identity | None = None


def budget(start_timeout: float) -> float:
    """Seconds that a start may take: 10 below the hub's own timeout, or half of a short one."""
    return min(max(start_timeout - 10, start_timeout / 2), BUDGET_AT_MOST)


def check_prefix(prefix: str, expected: str) -> None:
    """Refuse a prefix that this hub would not route to this server."""
    if prefix != expected:
        raise refusal(
            f"The server's prefix is {prefix!r}, and this hub routes {expected!r} to it.",
            reason="prefix",
        )


def check_hub_url(environment: Mapping[str, str]) -> None:
    """Refuse a hub URL that a notebook in a container cannot reach."""
    url = environment.get("JUPYTERHUB_API_URL", "")
    if hub_url.is_loopback(url):
        raise refusal(hub_url.advice(url), reason="hub_url", status=500)


def check_environment(environment: Mapping[Any, Any]) -> dict[str, str]:
    """The environment if a process can have it, else a refusal that names the variable."""
    for name, value in environment.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise _bad_variable(str(name)[:80], "this cannot be the name of a variable")
        if not isinstance(value, str):
            kind = type(value).__name__
            raise _bad_variable(name, f"its value is of type {kind}: make it a str")
        if "\0" in value:
            raise _bad_variable(name, "its value contains NUL")
        try:
            (name + value).encode()
        except UnicodeEncodeError:
            raise _bad_variable(name, "it is not text that UTF-8 can hold") from None
    return dict(environment)


def check_arguments(arguments: Sequence[Any]) -> tuple[str, ...]:
    """The arguments if they are text, else a refusal."""
    for argument in arguments:
        if not isinstance(argument, str) or "\0" in argument:
            raise refusal(f"args: {argument!r} is not a text without NUL.", reason="environment")
    return tuple(arguments)


def request(
    start: Start, environment: dict[str, str], arguments: tuple[str, ...], keys: Sequence[str]
) -> LeaseRequest:
    """The message, its environment sealed. Raises a refusal, or `BadSettings` for bad keys."""
    fields = {name: getattr(start, name) for name in ("lease", "hub", "user", "server", "prefix")}
    expires = timedelta(seconds=start.budget_seconds + SEAL_GRACE_SECONDS)
    contents = Contents.model_validate(
        fields
        | {
            "expires_at": datetime.now(UTC) + expires,
            "environment": environment,
            "arguments": arguments,
            "identity": start.identity,
        }
    )
    sealed = Seal(keys).close(contents)
    if len(sealed) > SEALED_AT_MOST:
        raise _too_long(environment, len(sealed))
    try:
        return LeaseRequest(
            **fields,
            hub_process=start.hub_process,
            pool=start.pool,
            groups=start.groups,
            budget_ms=int(start.budget_seconds * 1000),
            sealed=sealed,
        )
    except ValidationError as error:
        where = ", ".join(".".join(map(str, e["loc"])) + ": " + e["msg"] for e in error.errors())
        raise refusal(f"This server cannot be asked for: {where[:500]}", reason="names") from None


def _bad_variable(name: str, why: str) -> HTTPError:
    return refusal(
        f"The environment variable {name!r} cannot be given to the notebook: {why}. It comes "
        "from Spawner.environment, env_keep or a hook.",
        reason="environment",
    )


def _too_long(environment: Mapping[str, str], length: int) -> HTTPError:
    longest = sorted(environment, key=lambda name: len(environment[name]), reverse=True)[:3]
    sizes = ", ".join(f"{name} ({len(environment[name])})" for name in longest)
    return refusal(
        f"The environment is {length} bytes when sealed, the limit is {SEALED_AT_MOST}. "
        f"The longest variables are {sizes}: make them shorter, or put them into the pool.",
        reason="environment",
    )
