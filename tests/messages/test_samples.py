"""Every version of every message that was ever published: a sample, and it still reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.messages import decode, encode, known_types

SAMPLES = Path(__file__).parent.parent / "samples"
FILES = sorted(SAMPLES.glob("*.json"))


def test_each_message_type_has_its_sample_and_each_sample_its_type() -> None:
    sampled = {file.stem for file in FILES}

    assert sampled == set(known_types())


def holds(now: Any, then: Any) -> bool:
    """Later versions of us may add fields with defaults, at any depth: what was said must stay."""
    if isinstance(now, dict) and isinstance(then, dict):
        return all(key in now and holds(now[key], said) for key, said in then.items())
    if isinstance(now, list) and isinstance(then, list):
        return len(now) == len(then) and all(map(holds, now, then))
    return bool(now == then)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_sample_reads_as_its_type_and_says_the_same_when_written_again(file: Path) -> None:
    raw = file.read_bytes()
    wrapped = json.loads(raw)

    envelope = decode(raw)
    again = json.loads(encode(envelope.message, id="x", source="y", time="z"))["data"]

    assert type(envelope.message) is known_types()[file.stem]
    assert envelope.traceparent == wrapped["traceparent"]
    assert holds(again, wrapped["data"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_newer_sender_may_say_more_than_we_know(file: Path) -> None:
    wrapped = json.loads(file.read_bytes())
    wrapped["weather"] = {"of": ["tomorrow"]}
    wrapped["data"]["invented_later"] = ["a", {"deep": 1}]

    envelope = decode(json.dumps(wrapped).encode())

    assert envelope.message == decode(file.read_bytes()).message
    assert "invented_later" not in repr(envelope)
