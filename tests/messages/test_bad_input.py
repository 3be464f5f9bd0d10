"""Bytes that are no message of ours: one clear reason each, and nothing else ever raised."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.errors import BadMessage
from controlplane.messages import LeaseRelease, WarmupFailed, decode, encode
from controlplane.messages.envelope import MAX_BYTES

SAMPLES = [
    file.read_bytes() for file in sorted((Path(__file__).parent.parent / "samples").glob("*.json"))
]
RELEASE = json.loads(next(raw for raw in SAMPLES if json.loads(raw)["type"] == "lease.release.v1"))
REASONS = {"malformed", "oversized", "version", "unknown", "invalid"}


def release(**changes: Any) -> bytes:
    return json.dumps(RELEASE | changes).encode()


def padded(size: int) -> bytes:
    empty = release(padding="")
    return release(padding="x" * (size - len(empty)))


def refused(raw: bytes) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        decode(raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", "malformed", id="empty"),
        pytest.param(b"hello", "malformed", id="not JSON"),
        pytest.param(release()[:-5], "malformed", id="truncated"),
        pytest.param(release().decode().encode("utf-16"), "malformed", id="UTF-16"),
        pytest.param(b"\xef\xbb\xbf" + release(), "malformed", id="byte order mark"),
        pytest.param(release(subject="?").replace(b"?", b"\xff"), "malformed", id="invalid UTF-8"),
        pytest.param(b"null", "malformed", id="null"),
        pytest.param(b"[]", "malformed", id="a list"),
        pytest.param(b"17", "malformed", id="a number"),
        pytest.param(b"9" * MAX_BYTES, "malformed", id="digits"),
        pytest.param(b"[" * 60_000, "malformed", id="nested in lists"),
        pytest.param(b'{"a":' * 10_000, "malformed", id="nested in objects"),
        pytest.param(b"[" * 100_000, "oversized", id="nested and oversized"),
        pytest.param(b'"\\' * 30_000, "malformed", id="quotes and backslashes"),
        pytest.param(release(data={"attempt": float("nan")}), "malformed", id="NaN"),
        pytest.param(release(data={"attempt": float("inf")}), "malformed", id="Infinity"),
        pytest.param(
            release(data="?").replace(b'"?"', b"1e999"), "malformed", id="too large a number"
        ),
        pytest.param(b'{"type": 1, "type": 2}', "malformed", id="a key twice"),
        pytest.param(release(id=17), "malformed", id="id is no text"),
        pytest.param(release(id="x" * 600), "malformed", id="id is long"),
        pytest.param(release(source="a\r\nlevel=info"), "malformed", id="line break in source"),
        pytest.param(release(source="\ud800"), "malformed", id="half a surrogate pair"),
        pytest.param(padded(MAX_BYTES + 1), "oversized", id="one byte too long"),
        pytest.param(b"\x00" * 5_000_000, "oversized", id="5 MB"),
        pytest.param(pickle.dumps(RELEASE), "malformed", id="pickle"),
        pytest.param(release(type="lease.release"), "version", id="no version"),
        pytest.param(release(type="lease.release.v2"), "version", id="a future version"),
        pytest.param(release(type="lease.release.v-1"), "version", id="a negative version"),
        pytest.param(release(type="lease.release.vx"), "version", id="a version in letters"),
        pytest.param(release(type="lease.invented.v1"), "unknown", id="unknown type"),
        pytest.param(release(type=None), "unknown", id="no type"),
        pytest.param(release(type=["lease.release.v1"]), "unknown", id="type is a list"),
        pytest.param(release(type="\ud800.v1"), "unknown", id="type is no text"),
        pytest.param(release(data=None), "invalid", id="no data"),
        pytest.param(release(data=[]), "invalid", id="data is a list"),
        pytest.param(release(data=RELEASE["data"] | {"lease": "1"}), "invalid", id="lease id"),
        pytest.param(
            release(data=RELEASE["data"] | {"hub": "a/../b"}), "invalid", id="hub is a path"
        ),
    ],
)
def test_bad_bytes_are_refused_with_their_reason(raw: bytes, reason: str) -> None:
    assert refused(raw).reason == reason


def test_the_longest_message_allowed_is_read() -> None:
    raw = padded(MAX_BYTES)

    assert len(raw) == MAX_BYTES
    assert decode(raw).message.TYPE == "lease.release.v1"


def test_brackets_inside_a_text_are_no_nesting() -> None:
    envelope = decode(release(subject="[" * 200 + '"{' * 50))

    assert envelope.subject.startswith("[[")


def test_a_refusal_never_repeats_what_the_message_said() -> None:
    secret = "hunter2-hunter2"

    error = refused(release(data=RELEASE["data"] | {"lease": secret, "reason": secret.upper()}))

    assert secret not in str(error).lower()
    assert "lease" in str(error)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("report.run.accepted.v1", "attempt"),
        ("report.run.exited.v1", "exit_code"),
        ("report.node.hello.v1", "max_notebooks"),
    ],
)
def test_a_number_that_postgres_cannot_hold_spoils_no_transaction(kind: str, field: str) -> None:
    sample = json.loads(next(raw for raw in SAMPLES if json.loads(raw)["type"] == kind))
    sample["data"][field] = 2**31

    assert refused(json.dumps(sample).encode()).reason == "invalid"


def test_zero_bytes_of_a_log_do_not_keep_a_report_from_being_written_down() -> None:
    kind = "report.warmup.failed.v1"
    sample = json.loads(next(raw for raw in SAMPLES if json.loads(raw)["type"] == kind))
    sample["data"]["detail"] = "core\0dumped"

    message = decode(json.dumps(sample).encode()).message

    assert isinstance(message, WarmupFailed)
    assert message.detail == "core\ufffddumped"


def test_too_long_a_message_is_not_sent_either() -> None:
    body = LeaseRelease.model_construct(lease="x" * MAX_BYTES, hub="h", reason="stopped")

    with pytest.raises(BadMessage) as caught:
        encode(body, id="1", source="test", time="now")

    assert caught.value.reason == "oversized"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def read(raw: bytes) -> None:
    """An envelope or a `BadMessage` that quarantine can show; anything else fails the test."""
    reason = None
    try:
        decode(raw)
    except BadMessage as error:
        reason = error.reason

    assert reason in {None, *REASONS}


@settings(derandomize=True, max_examples=500, deadline=None, database=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    read(raw)


@settings(derandomize=True, max_examples=500, deadline=None, database=None)
@given(json_values)
def test_any_json_is_read_or_refused(value: Any) -> None:
    read(json.dumps(value).encode())


@settings(derandomize=True, max_examples=1000, deadline=None, database=None)
@given(st.data())
def test_a_sample_with_one_value_changed_is_read_or_refused(data: st.DataObject) -> None:
    wrapped = json.loads(data.draw(st.sampled_from(SAMPLES)))
    inside = data.draw(st.booleans()) and isinstance(wrapped["data"], dict)
    target = wrapped["data"] if inside else wrapped
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)

    read(json.dumps(wrapped).encode())


@settings(derandomize=True, max_examples=1000, deadline=None, database=None)
@given(st.sampled_from(SAMPLES), st.integers(0, 2000), st.integers(0, 5), st.binary(max_size=4))
def test_a_sample_with_some_bytes_changed_is_read_or_refused(
    raw: bytes, at: int, cut: int, put: bytes
) -> None:
    read(raw[:at] + put + raw[at + cut :])
