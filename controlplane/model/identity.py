"""Who a person is to the kernel, as a hub's hook or docker-stacks' variables say it. Pure.

`start.sh` of docker-stacks takes NB_USER, NB_UID, NB_GID, CHOWN_HOME and GRANT_SUDO when a
container begins as root. What of them can be had from a warm notebook is taken, what cannot
be had is refused or warned of, and nothing is ignored without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# 2**32 - 1 is "no change" to the kernel.
Id = Annotated[int, Field(ge=0, le=2**32 - 2, strict=True)]
MOST_GROUPS = 64
# As the kernel's passwd entry can hold it, and no longer than `useradd` takes it.
LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]{0,31}")

_NUMBERS = ("NB_UID", "NB_GID")
_NAMES = ("NB_USER", "NB_GROUP")
_SWITCHES = ("CHOWN_HOME", "CHOWN_EXTRA", "GRANT_SUDO")


class Identity(BaseModel):
    """What a hub says of a person. Without `gid` the home's group is taken, without `name` theirs.

    `groups` are supplementary ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    uid: Id
    gid: Id | None = None
    groups: tuple[Id, ...] = Field((), max_length=MOST_GROUPS)
    name: str = Field("", pattern=rf"^({LOGIN.pattern})?$")


class Unfit(ValueError):
    """Nobody can be given this identity. `reason` is for reports."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def claimed(hook: Identity | None, environment: Mapping[str, str]) -> Identity | None:
    """The hook's word with what NB_* add to it, for `run_as = "user"`; None: neither says a uid.

    Raises `Unfit` where they contradict each other, or ask for what no notebook gives.
    """
    if _on("GRANT_SUDO", environment):
        raise Unfit(
            "identity_sudo",
            "GRANT_SUDO is set: nobody becomes root in a notebook; take it out of the hub's "
            "environment, and put what people need into the image",
        )
    uid, gid = (_number(name, environment) for name in _NUMBERS)
    name = environment.get("NB_USER", "")
    said = Identity(uid=uid, gid=gid) if uid is not None else None
    if hook is None and said is None:
        if gid is not None:
            raise Unfit("identity_unknown", f"NB_GID is {gid} and NB_UID is missing: give both")
        return None
    for variable, ours, theirs in (
        ("NB_UID", uid, hook and hook.uid),
        ("NB_GID", gid, hook and hook.gid),
    ):
        if None not in (ours, theirs) and ours != theirs:
            raise Unfit(
                "identity_mismatch",
                f"{variable} is {ours} and the identity hook says {theirs}: give one of them",
            )
    both = hook or said
    assert both is not None
    named = both.name or (name if LOGIN.fullmatch(name) else "")
    return both.model_copy(update={"gid": gid if both.gid is None else both.gid, "name": named})


def refused_in_image(environment: Mapping[str, str], uid: int, gid: int) -> str:
    """Why a notebook of the image's user is not what this lease asks for, or ''."""
    for name, have in zip(_NUMBERS, (uid, gid), strict=True):
        value = environment.get(name, "")
        if value and value != str(have):
            return (
                f"{name} is {value[:20]}, and notebooks of this pool run as the image's user "
                f'({uid}:{gid}): set run_as = "user" for the pool, or take {name} out'
            )
    return ""


def without_effect(environment: Mapping[str, str], *, run_as: str) -> list[str]:
    """Variables of a lease that a start as root would have obeyed, and this one does not need."""
    switches = ("CHOWN_HOME", "CHOWN_EXTRA") if run_as == "user" else _SWITCHES
    names = [name for name in switches if _on(name, environment)]
    return names + ([name for name in _NAMES if environment.get(name)] if run_as == "image" else [])


def misplaced(environment: Mapping[str, str], *, run_as: str) -> Iterator[str]:
    """A sentence for each variable of a pool's environment that cannot do what it says."""
    for name in (*_NUMBERS, *_NAMES):
        if name in environment and run_as == "user":
            yield (
                f"container.environment has {name}, the same for everybody: each person's own is "
                "taken from the hub's identity hook or from their home; leave it out"
            )
        elif name in environment:
            yield (
                f"container.environment has {name}: notebooks run as the image's user; leave it "
                'out, or write run_as = "user" for each person\'s own'
            )
    for name in _SWITCHES:
        if _on(name, environment):
            yield (
                f"container.environment has {name}: no notebook may change owners or become "
                "root; leave it out"
            )


def login(name: str, user: str, uid: int) -> str:
    """What `whoami` says: the name that was given, else the hub's if it can be one."""
    return next((each for each in (name, user) if LOGIN.fullmatch(each)), f"u{uid}")


def _on(name: str, environment: Mapping[str, str]) -> bool:
    value = environment.get(name, "").strip().lower()
    return value not in ("", "0", "no", "false")


def _number(name: str, environment: Mapping[str, str]) -> int | None:
    value = environment.get(name, "")
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and int(value) <= 2**32 - 2):
        raise Unfit("identity_invalid", f"{name} is {value[:40]!r}: give a number")
    return int(value)
