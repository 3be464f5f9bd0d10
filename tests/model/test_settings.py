from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.errors import BadSettings
from controlplane.settings import load


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("GREENROOM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "greenroom.toml"
    monkeypatch.setenv("GREENROOM_CONFIG", str(path))
    return path


def refusal() -> str:
    with pytest.raises(BadSettings) as caught:
        load()
    return str(caught.value)


def test_without_anything_the_defaults_hold() -> None:
    assert load().installation == "greenroom"


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('installation = "fromfile"\nlog_level = "debug"\n[node]\nname = "n7"')
    monkeypatch.setenv("GREENROOM_INSTALLATION", "fromenv")

    settings = load()

    assert (settings.installation, settings.log_level) == ("fromenv", "debug")
    assert settings.node.name == "n7"


def test_an_unknown_key_of_the_file_is_an_error_with_a_guess(file: Path) -> None:
    file.write_text('instalation = "x"')

    assert refusal() == ("instalation = 'x': there is no such setting; did you mean installation?")


def test_an_unknown_key_below_node_is_an_error_with_a_guess(file: Path) -> None:
    file.write_text("[node]\nmax_notebook = 3")

    assert refusal().endswith("there is no such setting; did you mean max_notebooks?")


def test_other_variables_of_the_same_prefix_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GREENROOM_HUB_PORT", "8000")

    assert load().installation == "greenroom"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GREENROOM_HTTP_PORT", "many", "http_port = 'many': "),
        ("GREENROOM_HTTP_PORT", "70000", "http_port = '70000': input should be less than"),
        ("GREENROOM_LOG_LEVEL", "loud", "log_level = 'loud': input should be 'debug'"),
        ("GREENROOM_INSTALLATION", "a b", "installation = 'a b': "),
        ("GREENROOM_NODE__ADDRESS", "here", "node.address = 'here': "),
        ("GREENROOM_NODE__CREATES", "0", "node.creates = '0': "),
        ("GREENROOM_NODE__LAST_PORT", "20001", "fewer than max_notebooks = 200: widen the range"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    assert said in refusal()


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    assert "there is no such file" in refusal()


def test_a_file_that_is_not_toml_is_named(file: Path) -> None:
    file.write_text("a = [")

    assert f"{file} is not TOML" in refusal()


def test_a_wrong_secret_is_named_and_not_shown(file: Path) -> None:
    file.write_text('seal_keys = [{ key = "hush-hush" }]\namqp_url = ["hush-hush"]')

    assert "hush-hush" not in refusal()
    assert "amqp_url: " in refusal()


def test_seal_keys_come_apart_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_SEAL_KEYS", "newest,older")

    assert load().keys() == ("newest", "older")
