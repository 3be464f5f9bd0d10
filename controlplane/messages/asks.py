"""Requests: what hubs ask of the lease worker. Routed by type over `requests`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from controlplane.messages.envelope import Message, message
from controlplane.messages.words import (
    EVERY_ID,
    BudgetMs,
    HubId,
    HubProcess,
    LeaseId,
    PoolName,
    Prefix,
    Reason,
    Sealed,
    ServerName,
    Text,
    Url,
    UserName,
)

EVERY_LEASE = EVERY_ID


@message
class LeaseRequest(Message):
    """Somebody pressed start. Sent again with the same id, it has one effect.

    `renewed`: they came back for their place in line. While it waits, the lease takes this
    budget and seal over; when it has a notebook, nothing changes.
    """

    TYPE: ClassVar[str] = "lease.request.v1"
    lease: LeaseId
    hub: HubId
    hub_process: HubProcess
    user: UserName
    server: ServerName
    prefix: Prefix
    pool: PoolName
    groups: tuple[Text, ...] = Field((), max_length=500)
    budget_ms: BudgetMs
    sealed: Sealed
    renewed: bool = False


@message
class LeaseRelease(Message):
    """The hub's stop() or a cancelled start(). May arrive before its request."""

    TYPE: ClassVar[str] = "lease.release.v1"
    lease: LeaseId
    hub: HubId
    reason: Reason = "stopped"  # stopped | cancelled


@message
class LineQuestion(Message):
    """Where is this lease? Answered with what its row implies, places included."""

    TYPE: ClassVar[str] = "line.question.v1"
    lease: LeaseId
    hub: HubId
    hub_process: HubProcess


@message
class PoolsQuestion(Message):
    """What can be had right now? Asked when somebody looks; answered with `hub.pools`."""

    TYPE: ClassVar[str] = "pools.question.v1"
    hub: HubId
    hub_process: HubProcess


@message
class HubHello(Message):
    """A hub process is here: answered with `hub.snapshot`.

    `clients`: hosts that reach notebooks besides the API's own: a proxy elsewhere.
    """

    TYPE: ClassVar[str] = "hub.hello.v1"
    hub: HubId
    hub_process: HubProcess
    api_url: Url
    clients: tuple[Text, ...] = Field((), max_length=16)


@message
class HubInventory(Message):
    """Every lease id that this hub process knows. Only complete lists end anything.

    A list that is too long for one message goes out in parts, each complete for its own span:
    `between` is (from, to), ids of leases, `to` not included. So no reader needs to put parts
    together, and `complete` is said of a whole list alone.
    """

    TYPE: ClassVar[str] = "hub.inventory.v1"
    hub: HubId
    hub_process: HubProcess
    complete: bool
    between: tuple[LeaseId, LeaseId] | None = None
    leases: tuple[LeaseId, ...] = Field((), max_length=1500)
