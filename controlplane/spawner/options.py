"""What a user may choose: the pool, as `profile` in the user options. Input is not trusted.

`pool` is understood as well and means the same; `profile` is what JupyterHub's pages show.
Each refusal names key and value and says what to write instead.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from tornado.web import HTTPError

from controlplane.messages import KnownPool
from controlplane.messages.words import PoolName
from controlplane.spawner.refusal import refusal

KEY = "profile"
ALIAS = "pool"
MAX_BYTES = 8 * 1024
SHOWN_NAMES = 20
# What JupyterHub 6 puts before options in a URL, and 5.3 leaves there.
PREFIX = "opt-"
# The hub's own field of a form; a page that is loaded again has it in its URL.
XSRF = "_xsrf"


def accept(spawner: Any, user_options: Mapping[str, Any]) -> None:
    """The default of `apply_user_options`: `start()` reads the options and refuses bad ones."""


def from_form(form: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Single fields out of their lists. The default of `options_from_form` reads them then."""
    return {
        key.removeprefix(PREFIX): values[0] if len(values) == 1 else values
        for key, values in form.items()
        if key != XSRF
    }


def chosen(options: Mapping[str, Any], *, others: bool) -> str:
    """The pool named in the options, empty when none is.

    `others`: a hook of the admin handles further keys. Raises a refusal for anything else.
    """
    if not isinstance(options, Mapping):
        raise _bad("The options", options, "write an object such as {'profile': 'lab'}")
    if len(json.dumps(options, default=repr)) > MAX_BYTES:
        raise refusal(
            f"The options are longer than {MAX_BYTES} characters: give {KEY!r} alone.",
            reason="options",
        )
    unknown = [key for key in options if key not in (KEY, ALIAS)]
    if unknown and not others:
        told = ", ".join(f"{shown(key)} = {shown(options[key])}" for key in unknown[:SHOWN_NAMES])
        raise refusal(
            f"Unknown options: {told}. The only one is {KEY!r}, the name of a pool: leave the "
            "others out.",
            reason="options",
        )
    names = {key: options[key] for key in (KEY, ALIAS) if options.get(key) not in (None, "")}
    pools = {checked_pool(name, key) for key, name in names.items()}
    if len(pools) > 1:
        raise refusal(
            f"{KEY} = {shown(options[KEY])} and {ALIAS} = {shown(options[ALIAS])}: they mean the "
            "same, give one of them.",
            reason="options",
        )
    return pools.pop() if pools else ""


def checked_pool(name: Any, key: str = KEY) -> str:
    """`name` if it can be a pool's, else a refusal."""
    if not isinstance(name, str):
        raise _bad(key, name, f"it must be text, the name of one pool, not {type(name).__name__}")
    try:
        return TypeAdapter(PoolName).validate_python(name, strict=True)
    except ValidationError:
        raise _bad(
            key, name, "this is not the name of a pool: lower-case letters, digits and -"
        ) from None


def usable(pools: Mapping[str, KnownPool], groups: Collection[str]) -> list[KnownPool]:
    """The pools that a member of these groups may use, by name."""
    return [pools[name] for name in sorted(pools) if may_use(pools[name], groups)]


def may_use(pool: KnownPool, groups: Collection[str]) -> bool:
    """Whether a member of these groups may use it; a pool without groups is everybody's."""
    return not pool.groups or not set(pool.groups).isdisjoint(groups)


def the_pool(name: str, pools: Mapping[str, KnownPool], groups: Collection[str]) -> str:
    """Which pool this start is for: `name`, or the only one; or a refusal.

    A pool that we have not heard of may be new: see `unknown`.
    """
    mine = usable(pools, groups)
    if name:
        known = pools.get(checked_pool(name))
        if known is not None and not may_use(known, groups):
            yours = ", ".join(map(shown, sorted(groups)[:SHOWN_NAMES])) or "no group"
            raise refusal(
                f"{KEY} = {name!r}: this pool is for members of other groups, and you are in "
                f"{yours}. {_choose(mine)}",
                reason="groups",
                status=403,
            )
        return name
    if len(mine) == 1:
        return mine[0].pool
    if not mine:
        raise refusal(
            f"There is no pool that you may use. {_choose(mine)}", reason="groups", status=403
        )
    raise refusal(f"Nothing was chosen. {_choose(mine)}", reason="options")


def unknown(name: str, pools: Mapping[str, KnownPool], groups: Collection[str]) -> HTTPError:
    """The refusal of a pool that is none of `pools`, which are all that there are."""
    mine = usable(pools, groups)
    close = difflib.get_close_matches(name, [pool.pool for pool in mine], n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return refusal(
        f"{KEY} = {name!r}: there is no such pool; {hint}{_choose(mine)}", reason="options"
    )


def shown(value: Any) -> str:
    """A value of somebody else's in a sentence: short, and what cannot be printed escaped."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _bad(key: str, value: Any, why: str) -> HTTPError:
    return refusal(f"{key} = {shown(value)}: {why}.", reason="options")


def _choose(mine: Collection[KnownPool]) -> str:
    if not mine:
        return "Ask your administrators to put you into a group that has one."
    names = ", ".join(pool.pool for pool in list(mine)[:SHOWN_NAMES])
    return f"Choose a pool with the option {KEY!r}: {names}."
