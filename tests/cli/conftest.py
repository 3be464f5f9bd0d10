from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from controlplane.cli.app import run


@dataclass(frozen=True, kw_only=True)
class Said:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Greenroom = Callable[..., Said]


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def greenroom(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    _logging_as_before: None,
) -> Greenroom:
    """`greenroom("pools", "list")`: the command as an admin types it, without other services."""
    for name in ("POSTGRES", "AMQP", "REDIS"):
        scheme = {"POSTGRES": "postgresql", "AMQP": "amqp", "REDIS": "redis"}[name]
        monkeypatch.setenv(f"GREENROOM_{name}_URL", f"{scheme}://127.0.0.1:1/0")

    def call(*words: str) -> Said:
        capsys.readouterr()
        code = run(list(words))
        out, err = capsys.readouterr()
        return Said(code=code, out=out, err=err)

    return call
