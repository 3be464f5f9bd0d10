from __future__ import annotations

import pytest

from scripts.stack import up
from scripts.stack.screen import Trouble


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

    with pytest.raises(Trouble, match="neither Debian nor Ubuntu"):
        up.refuse_elsewhere()
