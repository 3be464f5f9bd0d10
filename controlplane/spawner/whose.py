"""As whom a notebook shall run: the admin's `identity` hook, asked at each start.

Only pools with `run_as = "user"` obey it. What it says travels inside the seal.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from tornado.web import HTTPError

from controlplane.model.identity import Identity
from controlplane.spawner.refusal import refusal


async def identity_of(spawner: Any) -> Identity | None:
    """What the hook says of this user; None without a hook, or when it knows nothing.

    Raises a refusal for a hook that fails, or says what no identity is.
    """
    if spawner.identity is None:
        return None
    try:
        said = spawner.identity(spawner)
        if inspect.isawaitable(said):
            said = await said
    except HTTPError:
        raise
    except Exception as error:
        spawner.log.exception("The identity hook failed for %s", spawner.user.name)
        raise refusal(
            f"The hub does not know as whom this server shall run: its identity hook failed "
            f"({type(error).__name__}). Tell the administrators.",
            reason="identity",
            status=500,
        ) from None
    return None if said is None else _checked(said)


def _checked(said: Any) -> Identity:
    if not isinstance(said, Mapping):
        raise _wrong(f"it returned {said!r:.80}, which is no mapping")
    try:
        return Identity.model_validate({name: _listed(said[name]) for name in said})
    except ValidationError as error:
        where = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise _wrong("; ".join(where)[:400]) from None


def _listed(value: Any) -> Any:
    # os.getgrouplist and the like give lists, people write sets.
    return sorted(value) if isinstance(value, set | frozenset) else value


def _wrong(why: str) -> HTTPError:
    return refusal(
        f"The hub's identity hook must return uid, and may return gid, groups and name: {why}.",
        reason="identity",
        status=500,
    )
