"""Who a notebook of `run_as = "user"` becomes: decided here, before anything of it runs.

The spawner's hook says it (sealed with the environment), or NB_UID and its like do, or the
owner of the home that is there. They must not contradict each other, and nobody is root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from controlplane.model import identity as words
from controlplane.model.identity import Identity, Unfit
from controlplane.model.pool import Storage
from controlplane.seal import Contents
from workers.agent.homes import HomeRefused, Person, owners_above
from workers.agent.journal import Entry
from workers.agent.node import Node

# Whom root is to a file server with root_squash.
NOBODY = 65534

_log = structlog.get_logger("agent.identity")


class IdentityRefused(HomeRefused):
    """No notebook may be this person in this home. `reason` is for reports."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose a home is. `above`: the uids of the directories between the root and it."""

    path: str
    uid: int
    gid: int
    above: frozenset[int] = frozenset()


async def settle(
    node: Node, entry: Entry, contents: Contents
) -> tuple[int | None, dict[str, Any] | None]:
    """A handle of the home, which the caller closes, and who the notebook must become.

    None for a pool without homes, and for the image's user. Raises `HomeRefused`,
    `HomeUnreachable`, `IdentityRefused`.
    """
    spec, environment = entry.spec, contents.plain()
    _warn(entry, environment)
    if spec.run_as == "image":
        _check_image(entry, environment)
        if spec.storage is None:
            return None, None
        person = _person(contents, entry.uid, entry.gid)
        return await node.threads.storage(node.homes.open, spec.storage, person), None
    # The recipe refuses such pools without storage.
    assert spec.storage is not None
    claim = _claimed(contents, environment)
    minimum = node.settings.node.min_uid
    if claim is not None:
        check_ids(claim.uid, claim.gid, claim.groups, minimum=minimum, who="the hub says")
    home, owner = await _open(node, spec.storage, contents, claim)
    try:
        who = decide(claim, owner, minimum=minimum, user=contents.user)
    except IdentityRefused:
        os.close(home)
        raise
    return home, {**who, "home": spec.storage.target}


def decide(claim: Identity | None, owner: Owner, *, minimum: int, user: str) -> dict[str, Any]:
    """uid, gid, groups and name, or `IdentityRefused`."""
    check_ids(owner.uid, None, (), minimum=minimum, who=f"the home {owner.path} belongs to")
    if claim is not None and claim.uid != owner.uid:
        raise IdentityRefused(
            "identity_mismatch",
            f"the hub says uid {claim.uid} of this person, and the home {owner.path} belongs to "
            f"uid {owner.uid}: correct the identity hook, the home's owner, or storage.template",
        )
    if claim is None:
        _check_above(owner, minimum)
    gid = owner.gid if claim is None or claim.gid is None else claim.gid
    groups = claim.groups if claim is not None else ()
    check_ids(owner.uid, gid, groups, minimum=minimum, who="the person would have")
    name = words.login(claim.name if claim else "", user, owner.uid)
    return {"uid": owner.uid, "gid": gid, "groups": list(groups), "name": name}


def _check_above(owner: Owner, minimum: int) -> None:
    """Whoever owns a directory can move another person's into it, and would become them."""
    others = {uid for uid in owner.above if uid >= minimum} - {owner.uid, NOBODY}
    if others:
        raise IdentityRefused(
            "identity_mismatch",
            f"the home {owner.path} belongs to uid {owner.uid}, and a directory above it to uid "
            f"{min(others)}, who may have put it there: give both to one person or the upper one "
            "to root, or let the identity hook say the uid",
        )


def check_ids(
    uid: int, gid: int | None, groups: tuple[int, ...], *, minimum: int, who: str
) -> None:
    """`IdentityRefused` for root, for whoever is below the minimum, and for root's group."""
    if uid == 0 or uid < minimum:
        why = "root's" if uid == 0 else f"below node.min_uid = {minimum}"
        raise IdentityRefused(
            "identity_low",
            f"{who} uid {uid}, which is {why}: give the home to its person, or correct the "
            "identity hook",
        )
    if gid == 0 or 0 in groups:
        raise IdentityRefused(
            "identity_low",
            f"{who} group 0, which is root's: give the home a group of its person's, or let the "
            "identity hook say another gid and groups",
        )


async def _open(
    node: Node, storage: Storage, contents: Contents, claim: Identity | None
) -> tuple[int, Owner]:
    """The home and its owner. One is made only for who is known without it."""
    known = claim is not None and claim.gid is not None
    allowed = storage if known else storage.model_copy(update={"create_missing": False})
    uid, gid = (claim.uid, claim.gid) if claim is not None and claim.gid is not None else (-1, -1)
    person = _person(contents, uid, gid)
    below = node.homes.path(storage, person)
    path = os.path.join(storage.root, below)
    seen: list[Owner] = []

    def open_and_look() -> int:
        handle = node.homes.open(allowed, person)
        try:
            # In the same thread: this, too, may never be answered.
            held = os.fstat(handle)
            # Whom the hub names is known without looking.
            above = owners_above(handle, storage, below) if claim is None else frozenset[int]()
            seen.append(Owner(path=path, uid=held.st_uid, gid=held.st_gid, above=above))
        except BaseException:
            os.close(handle)
            raise
        return handle

    try:
        home = await node.threads.storage(open_and_look)
    except HomeRefused as error:
        if error.reason != "home_missing" or allowed == storage:
            raise
        raise IdentityRefused(
            "identity_unknown",
            f"the home {path} does not exist on this node, and is made only for whom the hub's "
            "identity hook names with uid and gid (docs/hub.md)",
        ) from None
    return home, seen[0]


def _claimed(contents: Contents, environment: Mapping[str, str]) -> Identity | None:
    try:
        return words.claimed(contents.identity, environment)
    except Unfit as error:
        raise IdentityRefused(error.reason, str(error)) from None


def _check_image(entry: Entry, environment: Mapping[str, str]) -> None:
    why = words.refused_in_image(environment, entry.uid, entry.gid)
    if why:
        raise IdentityRefused("identity_image", why)


def _warn(entry: Entry, environment: Mapping[str, str]) -> None:
    names = words.without_effect(environment, run_as=entry.spec.run_as)
    if names:
        _log.warning(
            "variables.without_effect",
            notebook=entry.notebook,
            names=names,
            why="a start as root would have obeyed them; docs/hub.md says what to do instead",
        )


def _person(contents: Contents, uid: int, gid: int) -> Person:
    return Person(user=contents.user, server=contents.server, uid=uid, gid=gid)
