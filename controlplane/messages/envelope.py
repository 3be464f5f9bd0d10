"""One envelope for every message: CloudEvents names in JSON, the version in the type.

A message class names its `TYPE` (`lease.request.v1`); `encode` wraps it, `decode` finds
the class again. Bytes that no version of us can read raise `BadMessage` with the reason
that quarantine shows: `malformed`, `oversized`, `version`, `unknown` or `invalid`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from controlplane.errors import BadMessage

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32

# A string that is never closed counts as one too: so each byte is looked at once.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")

M = TypeVar("M", bound="Message")


class Message(BaseModel):
    """What travels. Unknown fields are ignored: a newer sender may know more than we do."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    TYPE: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A decoded message with what the envelope says of it."""

    id: str
    source: str
    subject: str
    time: str
    traceparent: str
    message: Message


_registry: dict[str, type[Message]] = {}


def message(cls: type[M]) -> type[M]:
    """Class decorator: make a message type known to `decode`."""
    _registry[cls.TYPE] = cls
    return cls


def known_types() -> dict[str, type[Message]]:
    """Every message type, by its name with version."""
    return dict(_registry)


def encode(
    body: Message, *, id: str, source: str, time: str, subject: str = "", traceparent: str = ""
) -> bytes:
    """The envelope as UTF-8 JSON. `id` is fresh for each attempt; `time` is RFC 3339."""
    envelope = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": body.TYPE,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "traceparent": traceparent,
    }
    head = json.dumps(envelope, separators=(",", ":"))
    raw = f'{head[:-1]},"data":{body.model_dump_json()}}}'.encode()
    if len(raw) > MAX_BYTES:
        raise BadMessage(
            f"{body.TYPE} is {len(raw)} bytes, the limit is {MAX_BYTES}: send less in it",
            reason="oversized",
        )
    return raw


def decode(raw: bytes) -> Envelope:
    """The message in these bytes, or `BadMessage` with a reason. Never any other error."""
    fields = _fields(raw)
    kind = fields.get("type")
    cls = _registry.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise BadMessage(_unknown(kind), reason=_unknown_reason(kind))
    try:
        body = cls.model_validate(fields.get("data"))
    except ValidationError as error:
        # Values stay out of the reason: they may be secrets or somebody's attack.
        where = ", ".join(".".join(map(str, e["loc"])) + ": " + e["type"] for e in error.errors())
        raise BadMessage(f"{kind} does not fit: {where[:500]}", reason="invalid") from None
    text = {key: _text(fields, key) for key in ("id", "source", "subject", "time", "traceparent")}
    return Envelope(message=body, **text)


def _fields(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise BadMessage(f"{len(raw)} bytes, the limit is {MAX_BYTES}", reason="oversized")
    if _too_deep(raw):
        raise BadMessage(f"nested deeper than {MAX_DEPTH}", reason="malformed")
    try:
        fields = json.loads(
            raw.decode("utf-8"),
            parse_constant=_no_constant,
            parse_float=_finite,
            object_pairs_hook=_no_duplicates,
        )
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON in UTF-8: {error}"[:200], reason="malformed") from None
    if not isinstance(fields, dict):
        raise BadMessage("not a JSON object", reason="malformed")
    return fields


def _too_deep(raw: bytes) -> bool:
    """More than `MAX_DEPTH` brackets open at once, outside strings."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False  # nearly every message: cannot be deeper than it has brackets
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", raw)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _unknown(kind: object) -> str:
    return f"no message type {str(kind)[:80]!r} is known here"


def _unknown_reason(kind: object) -> str:
    """`version` where we know the message but not this version of it, or it names none."""
    stems = {known.rpartition(".v")[0] for known in _registry}
    text = str(kind)
    return "version" if text in stems or text.rpartition(".v")[0] in stems else "unknown"


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key, "")
    if not isinstance(value, str) or len(value) > 512 or not value.isprintable():
        raise BadMessage(f"{key} of the envelope is not a short text", reason="malformed")
    return value
