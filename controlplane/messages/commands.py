"""Commands: orders to one agent. Never stored; each follows from a row."""

from __future__ import annotations

from typing import ClassVar

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
    ServerName,
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
