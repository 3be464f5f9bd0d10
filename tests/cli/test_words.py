"""What the command line says and how it ends, without any service."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.cli.conftest import Greenroom


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is going to answer here."""
    monkeypatch.setattr("controlplane.clients.rabbitmq.broker.CONNECT_SECONDS", 0.5)


def test_the_version_is_data(greenroom: Greenroom) -> None:
    said = greenroom("version")

    assert (said.code, said.out, said.err) == (0, f"{version('greenroom')}\n", "")


def test_a_new_key_seals(greenroom: Greenroom) -> None:
    key = greenroom("keys", "new").out.strip()

    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"


def test_two_new_keys_differ(greenroom: Greenroom) -> None:
    assert greenroom("keys", "new").out != greenroom("keys", "new").out


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["pools", "nonsense"],
        ["pools", "apply"],
        ["pools", "list", "-o", "yaml"],
        ["leases", "trace"],
        ["quarantine", "list", "-n", "0"],
        ["quarantine", "replay"],
    ],
)
def test_wrong_words_end_with_2_and_nothing_on_stdout(
    greenroom: Greenroom, words: list[str]
) -> None:
    said = greenroom(*words)

    assert (said.code, said.out) == (2, "")
    assert said.err


@pytest.mark.parametrize(
    "words",
    [
        ["db", "upgrade"],
        ["db", "status"],
        ["db", "rebuild-index"],
        ["topology", "apply"],
        ["pools", "apply"],
        ["pools", "list"],
        ["nodes", "list"],
        ["leases", "list"],
        ["leases", "trace"],
        ["status"],
        ["quarantine", "list"],
        ["quarantine", "replay"],
        ["doctor"],
        ["keys", "new"],
        ["version"],
    ],
)
def test_every_command_explains_itself(greenroom: Greenroom, words: list[str]) -> None:
    said = greenroom(*words, "--help")

    assert said.code == 0
    assert "Usage: greenroom " + " ".join(words) in said.out


def test_an_error_says_what_why_and_what_next(greenroom: Greenroom, tmp_path: Path) -> None:
    path = tmp_path / "pools.toml"
    path.write_text('[[pools]]\nname = "lab"\nwarm = -1\n[pools.container]\nimage = "lab:1"\n')

    said = greenroom("pools", "apply", "-f", str(path))

    what, why, following = said.err.splitlines()
    assert (said.code, said.out) == (2, "")
    assert what == "greenroom pools apply did not work"
    assert why.startswith(f"why:  {path}: pool 'lab': warm = -1: ")
    assert following.startswith("next: correct it and try again")


def test_a_wrong_setting_is_named(greenroom: Greenroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_HTTP_PORT", "many")

    said = greenroom("nodes", "list")

    assert said.code == 2
    assert "http_port = 'many'" in said.err


def test_what_is_no_lease_id_is_not_found(greenroom: Greenroom) -> None:
    said = greenroom("leases", "trace", "ann")

    assert said.code == 3
    assert "'ann' is no lease id" in said.err


@pytest.mark.parametrize("words", [["pools", "list"], ["nodes", "list"], ["leases", "list"]])
def test_without_postgres_a_command_fails_and_says_so(
    greenroom: Greenroom, words: list[str]
) -> None:
    said = greenroom(*words)

    assert (said.code, said.out) == (1, "")
    assert "why:  no connection to Postgres" in said.err
    assert "GREENROOM_POSTGRES_URL" in said.err


def test_without_rabbitmq_a_command_fails_and_says_so(greenroom: Greenroom) -> None:
    said = greenroom("topology", "apply")

    assert said.code == 1
    assert "why:  no connection to RabbitMQ" in said.err


def test_status_says_which_services_do_not_answer(greenroom: Greenroom) -> None:
    said = greenroom("status", "-o", "json")

    assert said.code == 1
    assert set(said.data["services"]) == {"postgres", "rabbitmq", "redis"}
    assert "ok" not in said.data["services"].values()


def test_no_password_gets_into_an_error(
    greenroom: Greenroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENROOM_POSTGRES_URL", "postgresql://ann:hush-hush@127.0.0.1:1/db")
    monkeypatch.setenv("GREENROOM_AMQP_URL", "amqp://ann:hush-hush@127.0.0.1:1/")
    said = [greenroom("status"), greenroom("pools", "list"), greenroom("db", "status")]

    assert all("hush-hush" not in each.out + each.err for each in said)
