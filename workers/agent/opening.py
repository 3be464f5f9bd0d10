"""A person's home, opened where it is to be had: below the pool's root, or below its backup."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from controlplane.model.pool import Storage
from controlplane.seal import Contents
from workers.agent import identity
from workers.agent.homes import HomeRefused, HomeUnreachable
from workers.agent.journal import Entry
from workers.agent.node import Node
from workers.agent.roots import Root, kind_of


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A handle of the home, which the caller closes, and who its notebook must become.

    None where a pool has no homes, and for the image's user. `kind` says which backup it is.
    """

    home: int | None
    who: dict[str, Any] | None
    read_only: bool = False
    kind: str = ""


async def open_home(node: Node, entry: Entry, contents: Contents) -> Opened:
    """`HomeRefused`, `HomeUnreachable`; never the backup while the pool's own root answers."""
    storage = entry.spec.storage
    if storage is None or storage.backup is None:
        return await _open(node, entry, contents, storage)
    if entry.run is not None and entry.run.home:
        # An earlier life of this agent may have mounted it: who owns that is who this must become.
        why = "it was taken before this agent started"
        root = Root(storage=storage.at_backup(), kind=kind_of(storage), why=why)
        return await _open_backup(node, entry, contents, root)
    root = await node.roots.where(storage)
    if not root.kind:
        try:
            return await _open(node, entry, contents, storage)
        except HomeUnreachable:
            # It answered a moment ago. One home that cannot be reached is no reason by itself.
            root = await node.roots.where(storage)
            if not root.kind:
                raise
    return await _open_backup(node, entry, contents, root)


async def _open_backup(node: Node, entry: Entry, contents: Contents, root: Root) -> Opened:
    spec = entry.spec.model_copy(update={"storage": root.storage})
    there = entry.model_copy(update={"spec": spec})
    try:
        opened = await _open(node, there, contents, root.storage)
    except (HomeRefused, HomeUnreachable) as error:
        # On another node the pool's own root may answer: never the end of the lease.
        raise HomeUnreachable(f"{root.why}; on its backup: {error}") from None
    return replace(opened, kind=root.kind)


async def _open(node: Node, entry: Entry, contents: Contents, storage: Storage | None) -> Opened:
    home, who = await identity.settle(node, entry, contents)
    return Opened(home=home, who=who, read_only=storage is not None and storage.read_only)
