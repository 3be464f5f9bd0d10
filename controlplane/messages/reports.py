"""Reports: what an agent saw. (epoch, seq) are taken at observation, so an old one is known."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from controlplane.messages.envelope import Message, message
from controlplane.messages.words import (
    EVERY_ID,
    Epoch,
    Home,
    HubId,
    LeaseId,
    NodeId,
    NotebookId,
    Number,
    PoolName,
    Reason,
    Seq,
    Stages,
    Text,
    Url,
)


class Report(Message):
    """What every report carries."""

    node: NodeId
    epoch: Epoch
    seq: Seq


@message
class WarmupCreated(Report):
    """The container exists and runs."""

    TYPE: ClassVar[str] = "report.warmup.created.v1"
    notebook: NotebookId
    container: Text


@message
class WarmupReady(Report):
    """The notebook is warm: imported, listening on its socket, its port closed."""

    TYPE: ClassVar[str] = "report.warmup.ready.v1"
    notebook: NotebookId
    container: Text
    url: Url  # http://address:port, nothing answers there yet
    warm_ms: float = 0.0
    cpu_ms: float = 0.0


@message
class WarmupFailed(Report):
    """The notebook never became warm, or died while it was."""

    TYPE: ClassVar[str] = "report.warmup.failed.v1"
    notebook: NotebookId
    reason: Reason
    detail: Text = ""
    exit_code: Number | None = None


@message
class RunAccepted(Report):
    """The order is in the agent's journal; from here on only its deadline ends it."""

    TYPE: ClassVar[str] = "report.run.accepted.v1"
    notebook: NotebookId
    lease: LeaseId
    attempt: Number


@message
class RunActivated(Report):
    """`<prefix>api` answers as this lease."""

    TYPE: ClassVar[str] = "report.run.activated.v1"
    notebook: NotebookId
    lease: LeaseId
    attempt: Number
    url: Url
    stages: Stages = Field(default_factory=dict)
    home: Home = ""


@message
class RunRefused(Report):
    """The agent will not: wrong seal, stale epoch, unknown notebook, storage. Not its fault."""

    TYPE: ClassVar[str] = "report.run.refused.v1"
    notebook: NotebookId
    lease: LeaseId
    attempt: Number
    reason: Reason
    detail: Text = ""
    terminal: bool = False  # another notebook would refuse as well


@message
class RunFailed(Report):
    """The activation went wrong inside the notebook."""

    TYPE: ClassVar[str] = "report.run.failed.v1"
    notebook: NotebookId
    lease: LeaseId
    attempt: Number
    reason: Reason
    detail: Text = ""


@message
class RunExited(Report):
    """An activated notebook's process ended; inspect confirmed it."""

    TYPE: ClassVar[str] = "report.run.exited.v1"
    notebook: NotebookId
    lease: LeaseId
    exit_code: Number | None = None
    out_of_memory: bool = False
    detail: Text = ""


@message
class NotebookGone(Report):
    """No container, mount or directory of this notebook is left on the node."""

    TYPE: ClassVar[str] = "report.notebook.gone.v1"
    notebook: NotebookId


@message
class NodeHello(Report):
    """An agent started, or connected again."""

    TYPE: ClassVar[str] = "report.node.hello.v1"
    address: Text
    max_notebooks: Number
    version: Text = ""


@message
class NodeHeartbeat(Report):
    """Every 2 s. `unreachable_hubs` names hubs that notebooks here cannot reach."""

    TYPE: ClassVar[str] = "report.node.heartbeat.v1"
    engine: Literal["ok", "failing"] = "ok"
    unreachable_hubs: tuple[HubId, ...] = Field((), max_length=64)


class Held(Message):
    """One notebook that a node holds. `lease` only when its journal says served or accepted."""

    TYPE: ClassVar[str] = "report.node.held.v1"
    notebook: NotebookId
    pool: PoolName
    state: Literal["creating", "warming", "ready", "activating", "serving", "exited", "removing"]
    lease: LeaseId | None = None
    attempt: Number = 0
    url: Url | None = None
    home: Home = ""


@message
class NodeInventory(Report):
    """Everything the node holds, every 10 s and on connect; in parts when it is long.

    `held` is all that it holds of the ids from the first of `between` up to the second, the
    latter not included: each part speaks for itself, whoever reads it. Without `between` (an
    agent of before) a list in several parts says nothing of what it leaves out.
    """

    TYPE: ClassVar[str] = "report.node.inventory.v1"
    inventory: Text
    part: int = Field(1, ge=1, lt=2**31)
    parts: int = Field(1, ge=1, lt=2**31)
    between: tuple[NotebookId, NotebookId] | None = None
    complete: bool = True  # False: the engine did not answer in full, absence means nothing
    held: tuple[Held, ...] = Field((), max_length=150)

    @model_validator(mode="after")
    def _is_one_of_its_parts(self) -> NodeInventory:
        if self.part > self.parts:
            raise ValueError("more parts than there are")
        return self

    @property
    def span(self) -> tuple[str, str] | None:
        """Of which ids this is everything that the node holds; None: of none for sure."""
        if not self.complete:
            return None
        return self.between or (EVERY_ID if self.parts == 1 else None)
