"""Events: facts that were decided, as the outbox publishes them. A hint and a key."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from controlplane.messages.envelope import Message, message
from controlplane.messages.words import Text


@message
class Moved(Message):
    """A row moved: routing key `event.<entity>.<phase>.<pool or node>`. Payload is a hint."""

    TYPE: ClassVar[str] = "event.moved.v1"
    day: Text
    seq: int
    entity: Literal["pool", "node", "notebook", "lease"]
    key: Text
    version: int
    phase: Text
    pool: Text = ""
    node: Text = ""
    change: dict[str, Any] = Field(default_factory=dict)
