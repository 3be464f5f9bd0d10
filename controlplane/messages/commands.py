"""Commands: orders to one agent. Never stored; each follows from a row."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from controlplane.messages.envelope import Message, message
from controlplane.messages.words import (
    BudgetMs,
    Epoch,
    HubId,
    LeaseId,
    NotebookId,
    Number,
    PoolName,
    Prefix,
    Reason,
    Sealed,
    Seq,
    ServerName,
    Text,
    Url,
    UserName,
)
from controlplane.model.pool import ContainerSpec


@message
class CreateNotebook(Message):
    """Warm one notebook of this revision. Again: report what became of it."""

    TYPE: ClassVar[str] = "notebook.create.v1"
    notebook: NotebookId
    pool: PoolName
    revision: Number
    spec_hash: str
    spec: ContainerSpec
    epoch: Epoch
    budget_ms: BudgetMs


@message
class ActivateNotebook(Message):
    """Tell this notebook who it is for. Again: report what became of it."""

    TYPE: ClassVar[str] = "notebook.activate.v1"
    notebook: NotebookId
    lease: LeaseId
    attempt: Number
    hub: HubId
    user: UserName
    server: ServerName
    prefix: Prefix
    epoch: Epoch
    budget_ms: BudgetMs
    sealed: Sealed


@message
class RetireNotebook(Message):
    """Remove this notebook and its mounts. A notebook that is not there is gone."""

    TYPE: ClassVar[str] = "notebook.retire.v1"
    notebook: NotebookId
    epoch: Epoch
    reason: Reason = ""


class KnownHub(Message):
    """A hub, where notebooks reach its API, and which hosts besides reach notebooks."""

    TYPE: ClassVar[str] = "node.hub.v1"
    hub: HubId
    api_url: Url
    clients: tuple[Text, ...] = Field((), max_length=16)


@message
class NodeSurroundings(Message):
    """What is around this node: hubs to let through and to probe, hosts to keep closed.

    `stamp`: Postgres' clock in milliseconds; an older one than the last says nothing.
    `nodes`: addresses of all nodes; `control`: hosts of the control plane.
    """

    TYPE: ClassVar[str] = "node.surroundings.v1"
    stamp: Seq
    hubs: tuple[KnownHub, ...] = Field((), max_length=64)
    nodes: tuple[Text, ...] = Field((), max_length=1000)
    control: tuple[Text, ...] = Field((), max_length=64)
