"""deploy/setup, without a machine's own programs."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet

from controlplane.clients.rabbitmq.permissions import hub, inner
from controlplane.settings import Settings, load
from tests.docs.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "first")


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Machine], Settings]:
    def read(machine: Machine) -> Settings:
        for name in [name for name in os.environ if name.startswith("GREENROOM_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("GREENROOM_CONFIG", str(machine.etc / "greenroom.toml"))
        return load()

    return read


def test_one_machine_gets_settings_that_every_process_reads(
    machine: Machine, settings_of: Callable[[Machine], Settings]
) -> None:
    done = machine.setup("control", "node", "192.0.2.7")

    assert done.returncode == 0, done.stderr
    settings = settings_of(machine)
    broker = urlsplit(settings.amqp_url.get_secret_value())
    postgres = urlsplit(settings.postgres_url.get_secret_value())
    assert (broker.username, broker.hostname) == ("greenroom", "192.0.2.7")
    assert (postgres.username, postgres.password) == ("greenroom", broker.password)
    assert str(settings.node.address) == "192.0.2.7"
    assert Fernet(settings.keys()[0])
    assert "greenroom keys new" in machine.notes


def test_logins_get_the_password_that_the_settings_have(machine: Machine) -> None:
    done = machine.setup("control", "192.0.2.7")

    assert done.returncode == 0, done.stderr
    password = urlsplit(machine.values()["GREENROOM_AMQP_URL"]).password
    assert f"alter role greenroom password '{password}';" in machine.notes
    assert f"rabbitmqctl -q add_user greenroom {password}" in machine.notes
    assert "createdb -O greenroom greenroom" in machine.notes


def test_hubs_get_a_login_of_their_own_that_can_only_ask(machine: Machine) -> None:
    done = machine.setup("control", "node", "192.0.2.7")

    assert done.returncode == 0, done.stderr
    of_hubs, of_nodes = machine.values("hub.env"), machine.values("agent.env")
    theirs, ours = (urlsplit(v["GREENROOM_AMQP_URL"]) for v in (of_hubs, of_nodes))
    assert (theirs.username, theirs.hostname) == ("greenroom-hub", "192.0.2.7")
    assert theirs.password != ours.password
    assert of_hubs["GREENROOM_SEAL_KEYS"] == of_nodes["GREENROOM_SEAL_KEYS"]
    assert f"rabbitmqctl -q add_user greenroom-hub {theirs.password}" in machine.notes
    # Without its quotes, as the stub writes its words down.
    for rights, login in ((inner, "greenroom"), (hub, "greenroom-hub")):
        line = " ".join(shlex.split(rights("greenroom").command(login, "/")))
        assert line.replace("rabbitmqctl", "rabbitmqctl -q") in machine.notes


def test_done_again_it_changes_nothing(machine: Machine) -> None:
    machine.setup("control", "node", "192.0.2.7")
    before = machine.files()

    again = machine.setup("control", "node", "192.0.2.7")

    assert again.returncode == 0, again.stderr
    assert machine.files() == before


def test_only_root_reads_secrets(machine: Machine) -> None:
    machine.setup("control", "node", "192.0.2.7")
    names = ("hub.env", "hub.conf", "agent.env", "greenroom.toml")
    modes = [stat.S_IMODE((machine.etc / name).stat().st_mode) for name in names]

    # The workers' group reads the last one.
    assert modes == [0o600, 0o600, 0o600, 0o640]
    assert f"chgrp greenroom {machine.etc}/greenroom.toml" in machine.notes


def test_a_node_joins_with_the_control_machine_s_keys_and_without_services(
    machine: Machine, settings_of: Callable[[Machine], Settings], tmp_path: Path
) -> None:
    machine.setup("control", "192.0.2.7")
    node = Machine(tmp_path / "second")

    done = node.setup("node", "192.0.2.8", "--join", str(machine.etc / "agent.env"))

    assert done.returncode == 0, done.stderr
    joined, control = settings_of(node), settings_of(machine)
    assert joined.amqp_url == control.amqp_url
    assert joined.seal_keys == control.seal_keys
    assert str(joined.node.address) == "192.0.2.8"
    assert joined.model_fields_set.isdisjoint({"postgres_url", "redis_url"})
    assert "runuser" not in node.notes
    assert "rabbitmqctl" not in node.notes
    assert not (node.etc / "hub.env").exists()
    assert sorted(unit.name for unit in node.units.iterdir()) == [
        "greenroom-agent.service",
        "greenroom.target",
    ]


def test_units_start_what_was_installed(machine: Machine) -> None:
    machine.setup("control", "node", "192.0.2.7")
    text = "".join(unit.read_text() for unit in machine.units.glob("*.service"))

    assert f"ExecStart={machine.home}/.venv/bin/python -m workers agent" in text
    assert "/opt/greenroom/.venv" not in text.replace(str(machine.home), "")
    assert "greenroom-worker@suspect.service" in machine.notes


def test_a_hub_s_drop_in_says_what_its_environment_file_says(machine: Machine) -> None:
    machine.setup("control", "192.0.2.7")
    heading, *lines = (machine.etc / "hub.conf").read_text().splitlines()
    said = dict(line.removeprefix("Environment=").split("=", 1) for line in lines)

    assert heading == "[Service]"
    assert said == machine.values("hub.env")


@pytest.mark.parametrize(
    "words",
    [(), ("control",), ("192.0.2.7",), ("node", "192.0.2.7"), ("control", "a", "b"), ("--help",)],
)
def test_words_that_do_not_fit_change_nothing(machine: Machine, words: tuple[str, ...]) -> None:
    done = machine.setup(*words)

    assert done.returncode == 2
    assert "deploy/setup" in done.stderr or "--join" in done.stderr
    assert not machine.root.exists()
    assert machine.notes == ""
