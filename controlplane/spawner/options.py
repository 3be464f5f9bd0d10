"""What a user may choose: the pool, as `profile` in the user options. Input is not trusted."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from controlplane.messages import KnownPool
from controlplane.messages.words import PoolName
from controlplane.spawner.refusal import refusal

KEY = "profile"
MAX_BYTES = 8 * 1024
SHOWN_NAMES = 20


def accept(spawner: Any, user_options: Mapping[str, Any]) -> None:
    """The default of `apply_user_options`: `start()` reads the options and refuses bad ones."""


def from_form(form: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The default of `options_from_form`: single fields out of their lists."""
    return {key: values[0] if len(values) == 1 else values for key, values in form.items()}


def chosen(options: Mapping[str, Any], *, others: bool) -> str:
    """The pool named in the options, empty when none is.

    `others`: a hook of the admin handles further keys. Raises a refusal for anything else.
    """
    if not isinstance(options, Mapping):
        raise refusal("The options are not an object of names and values.", reason="options")
    if len(json.dumps(options, default=repr)) > MAX_BYTES:
        raise refusal(f"The options are longer than {MAX_BYTES} characters.", reason="options")
    unknown = [str(key)[:40] for key in options if key != KEY]
    if unknown and not others:
        raise refusal(
            f"Unknown options: {', '.join(map(repr, unknown[:SHOWN_NAMES]))}. "
            f"The only one is {KEY!r}, the name of a pool.",
            reason="options",
        )
    return checked_pool(options[KEY]) if options.get(KEY) not in (None, "") else ""


def checked_pool(name: Any) -> str:
    """`name` if it can be a pool's, else a refusal."""
    try:
        return TypeAdapter(PoolName).validate_python(name, strict=True)
    except ValidationError:
        raise refusal(
            f"{str(name)[:80]!r} is not the name of a pool: lower-case letters, digits and -",
            reason="options",
        ) from None


def usable(pools: Mapping[str, KnownPool], groups: Collection[str]) -> list[KnownPool]:
    """The pools that a member of these groups may use, by name."""
    return [pools[name] for name in sorted(pools) if may_use(pools[name], groups)]


def may_use(pool: KnownPool, groups: Collection[str]) -> bool:
    """Whether a member of these groups may use it; a pool without groups is everybody's."""
    return not pool.groups or not set(pool.groups).isdisjoint(groups)


def the_pool(name: str, pools: Mapping[str, KnownPool], groups: Collection[str]) -> str:
    """Which pool this start is for: `name`, or the only one; or a refusal.

    A pool that we have not heard of may be new: then the lease worker decides.
    """
    if name:
        known = pools.get(checked_pool(name))
        if known is not None and not may_use(known, groups):
            raise refusal(f"Pool {name} is not open to your groups.", reason="groups", status=403)
        return name
    mine = usable(pools, groups)
    if len(mine) == 1:
        return mine[0].pool
    if not mine:
        raise refusal("There is no pool that you may use.", reason="groups", status=403)
    names = ", ".join(pool.pool for pool in mine[:SHOWN_NAMES])
    raise refusal(f"Choose a pool with the option {KEY!r}: {names}.", reason="options")


def form(pools: list[KnownPool], selected: str) -> str:
    """A select of pools in HTML; empty when there is no choice to make."""
    if len(pools) < 2:
        return ""
    rows = "".join(
        f'<option value="{html.escape(pool.pool)}"{" selected" if pool.pool == selected else ""}>'
        f"{html.escape(pool.pool)}{_about(pool)}</option>"
        for pool in pools
    )
    return (
        f'<label for="greenroom-{KEY}">Notebook</label>'
        f'<select id="greenroom-{KEY}" name="{KEY}" class="form-control">{rows}</select>'
    )


def _about(pool: KnownPool) -> str:
    parts = [pool.description]
    if pool.cpus:
        parts.append(f"{pool.cpus:g} CPUs")
    if pool.memory_mib:
        parts.append(f"{pool.memory_mib} MiB")
    return html.escape("".join(f" - {part}" for part in parts if part))
