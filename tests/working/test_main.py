"""`python -m workers`: what it says and how it ends."""

from __future__ import annotations

import json

import pytest

from controlplane.errors import Refused, Unavailable
from workers import __main__ as door
from workers import tools


@pytest.mark.usefixtures("logging_put_back")
def test_a_worker_that_dies_says_why_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def die(_name: str, _settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(door, "_work", die)

    code = door.main(["lease"])

    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert code == 1
    assert (said["event"], said["worker"], said["level"]) == ("process.died", "lease", "error")
    assert "ZeroDivisionError" in said["exception"]


@pytest.mark.usefixtures("logging_put_back")
def test_a_worker_that_was_told_to_stop_ends_with_nought(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stop(_name: str, _settings: object) -> None:
        return

    monkeypatch.setattr(door, "_work", stop)

    assert door.main(["refill"]) == 0


async def test_a_service_that_is_away_at_the_start_is_waited_for() -> None:
    answers: list[Exception | str] = [Unavailable(), Unavailable(), "connected"]

    async def connect() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await tools._once_there("postgres", connect) == "connected"
    assert answers == []


async def test_a_service_that_refuses_us_is_not_waited_for() -> None:
    async def connect() -> str:
        raise Refused("the password is wrong")

    with pytest.raises(Refused, match="password"):
        await tools._once_there("postgres", connect)
