from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from scripts.stack import up
from scripts.stack.screen import Screen, Trouble


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GREENROOM_WARM", "GREENROOM_MAX", "GREENROOM_HUB_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_sizes_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_WARM", "12")
    monkeypatch.setenv("GREENROOM_MAX", "40")

    asked = up.wish([])

    assert (asked.warm, asked.maximum) == (12, 40)


def test_a_large_warm_target_raises_the_maximum_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_WARM", "12")

    assert up.wish([]).maximum == 24


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GREENROOM_WARM", "many"),
        ("GREENROOM_WARM", "-1"),
        ("GREENROOM_WARM", "0"),
        ("GREENROOM_MAX", "1"),
        ("GREENROOM_HUB_PORT", "8000x"),
    ],
)
def test_a_wrong_number_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(Trouble, match=name):
        up.wish([])


def test_elsewhere_it_refuses_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up.shutil, "which", lambda _: None)

    with pytest.raises(Trouble, match="neither Debian nor Ubuntu") as caught:
        up.refuse_elsewhere()

    assert "docs/install.md" in str(caught.value.advice)


def test_another_distribution_with_apt_is_refused_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    release = tmp_path / "os-release"
    release.write_text("ID=deepin\n")
    monkeypatch.setattr(up, "RELEASE", release)
    monkeypatch.setattr(up.shutil, "which", lambda name: f"/usr/bin/{name}")

    with pytest.raises(Trouble, match="neither Debian nor Ubuntu") as caught:
        up.refuse_elsewhere()

    assert "docs/install.md" in str(caught.value.advice)


class Terminal(io.StringIO):
    """Somebody sits there and types this."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> io.StringIO:
    """A machine that lacks everything; what its screen shows."""
    monkeypatch.setattr(up.packages, "missing", lambda needs: list(needs))
    monkeypatch.setattr(up.engine, "answers", lambda _: False)
    monkeypatch.setattr(up.services, "given", dict)
    monkeypatch.setattr(up.packages, "PROXY", tmp_path / "proxy")
    monkeypatch.setattr(up.image, "CACHE", tmp_path / "cache")
    # Whoever calls Python's input() is not asked where pytest has taken the terminal.
    monkeypatch.setattr("builtins.input", lambda prompt: sys.stdin.readline())
    return io.StringIO()


def agreed(shown: io.StringIO, *arguments: str) -> bool:
    return up._agreed(up.wish(arguments), Screen(shown))


def test_it_says_first_what_it_installs_where_and_what_that_takes(
    bare: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    assert agreed(bare)

    said = bare.getvalue()
    for what in ("postgresql", "redis-server", "rabbitmq-server", "docker.io", "npm", "image"):
        assert what in said
    assert str(up.UP.directory) in said
    assert re.search(r"about \d+\.\d GB of disk and \d+ minutes", said)


@pytest.mark.parametrize(
    ("typed", "goes_on"), [("\n", True), ("y\n", True), ("n\n", False), ("what?\n", False)]
)
def test_on_a_terminal_it_asks_and_a_no_changes_nothing(
    bare: io.StringIO, monkeypatch: pytest.MonkeyPatch, typed: str, goes_on: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))

    assert agreed(bare) is goes_on
    assert ("Nothing was installed or started" in bare.getvalue()) is not goes_on


def test_who_said_yes_is_not_asked(bare: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))

    assert agreed(bare, "--yes")
