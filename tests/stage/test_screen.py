from __future__ import annotations

import io
from pathlib import Path

import pytest

from scripts.stack.screen import Screen, Trouble


def test_without_a_terminal_a_step_is_two_plain_lines() -> None:
    out = io.StringIO()

    with Screen(out).step("making things") as step:
        step.note = "three of them"

    began, ended = out.getvalue().splitlines()
    assert began == " .. making things"
    assert ended.startswith(" ok making things")
    assert ended.endswith("three of them")
    assert "\x1b" not in out.getvalue()


def test_a_failing_step_says_failed_and_lets_the_error_through() -> None:
    out = io.StringIO()

    with pytest.raises(Trouble), Screen(out).step("making things"):
        raise Trouble("no wood")

    assert "failed making things" in out.getvalue()


def test_a_failure_prints_reason_last_lines_advice_and_retry(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    out = io.StringIO()

    Screen(out).failed(Trouble("no wood", log=log, advice="Plant trees."), retry="scripts/up --yes")

    told = out.getvalue()
    assert "no wood" in told
    assert "line 99" in told
    assert "line 10\n" not in told
    assert "Plant trees." in told
    assert told.endswith("Try again: scripts/up --yes\n")


def test_a_log_that_was_never_written_is_said_to_be_so(tmp_path: Path) -> None:
    out = io.StringIO()

    Screen(out).failed(Trouble("no wood", log=tmp_path / "none.log"), retry="scripts/up")

    assert "never written" in out.getvalue()
