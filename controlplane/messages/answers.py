"""Answers: what the lease worker tells a hub process. Hints; the snapshot heals a lost one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.messages.envelope import Message, message
from controlplane.messages.words import (
    Home,
    HubId,
    LeaseId,
    NodeId,
    NotebookId,
    PoolName,
    Reason,
    ServerName,
    Stages,
    Text,
    Url,
    UserName,
)


@message
class LeaseClaimed(Message):
    """A notebook was found and its activation is ordered."""

    TYPE: ClassVar[str] = "lease.claimed.v1"
    lease: LeaseId
    attempt: int
    notebook: NotebookId
    node: NodeId


@message
class LeaseServing(Message):
    """The notebook proved that it answers as this lease."""

    TYPE: ClassVar[str] = "lease.serving.v1"
    lease: LeaseId
    notebook: NotebookId
    node: NodeId
    url: Url
    cold: bool = False
    stages: Stages = Field(default_factory=dict)
    home: Home = ""


@message
class LeaseEnded(Message):
    """The lease is over; `reason` is an `EndReason`, `detail` is for people."""

    TYPE: ClassVar[str] = "lease.ended.v1"
    lease: LeaseId
    reason: Reason
    detail: Text = ""


class Place(Message):
    """One lease's place in its pool's line, first is 1."""

    TYPE: ClassVar[str] = "line.place.v1"
    lease: LeaseId
    place: int


@message
class LinePlaces(Message):
    """Places of one hub process' people in one pool's line, and why they wait.

    `eta_seconds`: until the next notebook goes to the head of the line; whoever stands at
    place n waits about n times that. None while it is not known.
    """

    TYPE: ClassVar[str] = "line.places.v1"
    pool: PoolName
    why: Literal["warming", "at_capacity", "nothing_coming"]
    warming: int = 0
    eta_seconds: float | None = None
    detail: Text = ""
    places: tuple[Place, ...] = Field((), max_length=500)


class KnownLease(Message):
    """One lease of a hub, as Postgres holds it."""

    TYPE: ClassVar[str] = "hub.lease.v1"
    lease: LeaseId
    user: UserName
    server: ServerName
    phase: Literal["waiting", "claimed", "serving"]
    pool: Text = ""
    url: Url | None = None
    home: Home = ""


class PoolOutlook(Message):
    """What somebody who asks a pool now may expect.

    `warm`: notebooks that this hub could be given at once. `wait_seconds`: for whoever stands
    in line next, None while it is not known.
    """

    TYPE: ClassVar[str] = "hub.pool.outlook.v1"
    warm: int
    warming: int = 0
    waiting: int = 0
    why: Literal["ready", "warming", "at_capacity", "nothing_coming"]
    wait_seconds: float | None = None
    detail: Text = ""


Counts = Annotated[dict[Text, int], Field(max_length=200)]


class KnownPool(Message):
    """What a hub may know of a pool.

    `max_per_user`, `max_per_group`: its limits. `held`: this hub's open leases of the pool by
    group, for the groups that the limits name. `outlook` is there in answers to a question.
    """

    TYPE: ClassVar[str] = "hub.pool.v1"
    pool: PoolName
    display_name: Text = ""
    description: Text = ""
    groups: tuple[Text, ...] = ()
    image: Text = ""
    memory_mib: int = 0
    cpus: float = 0.0
    run_as: Text = "image"
    home: Text = ""
    paused: bool = False
    max_per_user: int | None = None
    max_per_group: Counts = Field(default_factory=dict)
    held: Counts = Field(default_factory=dict)
    outlook: PoolOutlook | None = None


@message
class HubPools(Message):
    """All pools as they are now, and the limits over all of them; in parts when it is long.

    Parts are those of `hub.snapshot`; each says the limits. `held` counts as in a pool.
    """

    TYPE: ClassVar[str] = "hub.pools.v1"
    hub: HubId
    snapshot: Text
    part: int = 1
    parts: int = 1
    pools: tuple[KnownPool, ...] = Field((), max_length=200)
    max_per_user: int | None = None
    max_per_group: Counts = Field(default_factory=dict)
    held: Counts = Field(default_factory=dict)


@message
class HubSnapshot(Message):
    """Everything a hub process needs after it connects; in parts when it is long.

    The answer to `hub.hello`: parts are numbered from 1, and the snapshot holds from the
    moment `parts` of them with the same `snapshot` id are there.
    """

    TYPE: ClassVar[str] = "hub.snapshot.v1"
    hub: HubId
    snapshot: Text
    part: int = 1
    parts: int = 1
    leases: tuple[KnownLease, ...] = Field((), max_length=200)
    pools: tuple[KnownPool, ...] = Field((), max_length=200)
