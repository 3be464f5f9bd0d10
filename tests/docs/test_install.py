"""docs/install.md is followed: its commands counted, known and, where that is possible, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import typer

from controlplane import poolsfile
from controlplane.cli.app import app
from controlplane.doctor import hub
from controlplane.doctor.finding import Level
from controlplane.settings import NodeSettings, Settings
from workers.__main__ import NAMES

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs" / "install.md"
UNITS = CHECKOUT / "deploy" / "systemd"
MOST_COMMANDS = 10
SYSTEM = {"apt-get", "git", "docker", "ssh", "scp", "systemctl"}


def section(title: str) -> str:
    """The text below a heading of the second level."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.S | re.M)
    assert found is not None, f"the page has no section {title}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def commands(text: str) -> list[str]:
    """Every command of the console blocks; a pipe is one command, `&&` and `;` make two."""
    lines = [line.strip() for block in blocks(text, "console") for line in block.splitlines()]
    said = [line for line in lines if line and not line.startswith("#")]
    return [part.strip() for line in said for part in re.split(r"&&|;", line)]


def programs() -> list[list[str]]:
    """The words of every command that the page and the units have."""
    started = [
        line.partition("=")[2]
        for unit in sorted(UNITS.glob("*.service"))
        for line in unit.read_text().splitlines()
        if line.startswith("ExecStart=")
    ]
    quoted = re.findall(
        r"`((?:greenroom|systemctl|python -m|/opt/)[^`\n]* [^`]*)`", PAGE.read_text()
    )
    return [shlex.split(text) for text in [*commands(PAGE.read_text()), *started, *quoted]]


def unknown_options(words: list[str]) -> set[str]:
    """The options of this command of ours that it does not have."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while subcommands := getattr(command, "commands", None):
        assert rest, f"not a whole command: {' '.join(words)}"
        assert rest[0] in subcommands, f"no such command: {' '.join(words)}"
        command, rest = subcommands[rest[0]], rest[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    return {word for word in rest if word.startswith("-")} - known


def test_a_hub_and_a_bare_node_are_at_most_ten_commands_from_a_warm_notebook() -> None:
    counted = commands(section("One node"))

    assert 0 < len(counted) <= MOST_COMMANDS, counted


def test_one_pools_file_and_two_hub_lines_are_all_that_is_written() -> None:
    text = section("One node")
    (lines,) = blocks(text, "python")

    assert len(blocks(text, "toml")) == 1
    assert len(lines.splitlines()) == 2
    assert len(blocks(section("Back to DockerSpawner"), "python")[0].splitlines()) == 2


def test_the_pools_file_of_the_page_is_one() -> None:
    (text,) = blocks(section("One node"), "toml")

    (pool,) = poolsfile.parse(text).pools

    assert pool.container.image in " ".join(commands(section("One node")))
    assert pool.container.storage is not None


def test_the_two_hub_lines_leave_the_doctor_nothing_that_fails() -> None:
    (lines,) = blocks(section("One node"), "python")
    said = dict(re.findall(r'^c\.JupyterHub\.(\w+) = "([^"]+)"', lines, re.M))
    versions = {"jupyterhub": "6.1.1", "greenroom": "0.1"}

    found = hub.judge(hub.Hub(python="python3", versions=versions, config={"JupyterHub": said}))

    assert [each.fix for each in found if each.level is Level.FAIL] == []
    assert [each.fix for each in found] == ["c.JupyterHub.concurrent_spawn_limit = 0"]


def test_every_command_that_is_ours_exists_with_its_options() -> None:
    ours = [words for words in programs() if Path(words[0]).name == "greenroom"]

    assert len(ours) >= 6
    assert [words for words in ours if unknown_options(words)] == []


def test_every_other_program_is_the_system_s_or_in_the_repository() -> None:
    for words in programs():
        name = words[0]
        if name.startswith("/opt/greenroom/deploy/"):
            assert (CHECKOUT / name.removeprefix("/opt/greenroom/")).stat().st_mode & 0o111
        elif name.endswith(("python", "python3")):
            assert words[1] == "-m"
            assert words[2] in ("pip", "workers", "workers.agent.wipe")
        else:
            assert name in SYSTEM or Path(name).name == "greenroom", words


def test_every_worker_that_a_unit_or_setup_starts_is_one() -> None:
    setup = (CHECKOUT / "deploy" / "setup").read_text()
    (listed,) = re.findall(r"for name in ([a-z ]+); do", setup)
    (agents,) = re.findall(
        r"-m workers (\w+)$", (UNITS / "greenroom-agent.service").read_text(), re.M
    )

    assert {*listed.split(), agents} == set(NAMES)


def test_every_setting_that_the_page_setup_and_units_name_is_one() -> None:
    known = {f"GREENROOM_{name.upper()}" for name in Settings.model_fields}
    known |= {f"GREENROOM_NODE__{name.upper()}" for name in NodeSettings.model_fields}
    files = [PAGE, CHECKOUT / "deploy" / "setup", *UNITS.iterdir()]
    named = {name for file in files for name in re.findall(r"GREENROOM_[A-Z_]+", file.read_text())}
    nodes = set(re.findall(r"`node\.([a-z_]+)`", PAGE.read_text()))

    assert named - known == {"GREENROOM_CONFIG"}
    assert nodes <= set(NodeSettings.model_fields)


def test_every_page_that_is_linked_is_there() -> None:
    linked = re.findall(r"\]\(([a-z]+\.md)\)", PAGE.read_text())

    assert linked
    assert [page for page in linked if not (PAGE.parent / page).exists()] == []
