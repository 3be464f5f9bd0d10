"""Where homes are: names as DockerSpawner makes them, never outside the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.model.pool import Storage
from workers.agent.homes import (
    HomeRefused,
    Homes,
    HomeUnreachable,
    Person,
    escape,
    escape_legacy,
    path_below,
)

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
# The same examples each time, on a machine of any speed.
STEADY = settings(deadline=None, derandomize=True, database=None)
# Written down from DockerSpawner 14.0.0 with escapism 1.1.0.
KNOWN = [
    ("alice", "alice", "alice"),
    ("Alice", "-41lice", "Alice"),
    ("user-name", "user-2dname", "user-name"),
    ("user-2dname", "user-2d2dname", "user-2dname"),
    ("a.b_c@d", "a-2eb-5fc-40d", "a_2Eb_5Fc_40d"),
    ("../../etc", "-2e-2e-2f-2e-2e-2fetc", "_2E_2E_2F_2E_2E_2Fetc"),
    ("日", "-e6-97-a5", "_E6_97_A5"),
    ("é", "-c3-a9", "_C3_A9"),
]


@pytest.mark.parametrize(("name", "default", "legacy"), KNOWN)
def test_names_are_escaped_as_dockerspawner_does(name: str, default: str, legacy: str) -> None:
    assert (escape(name), escape_legacy(name)) == (default, legacy)


@STEADY
@given(NAMES)
def test_every_name_is_escaped_byte_for_byte_as_dockerspawner_does(name: str) -> None:
    dockerspawner = pytest.importorskip("dockerspawner")

    assert escape(name) == dockerspawner.DockerSpawner._escape(name)
    assert escape_legacy(name) == dockerspawner.DockerSpawner._legacy_escape(name)


@STEADY
@given(NAMES)
def test_an_escaped_name_is_always_one_component_below_the_root(name: str) -> None:
    short = name[:20]
    for rule in ("default", "legacy"):
        storage = Storage.model_validate({"root": "/homes", "escape": rule})
        path = path_below(storage, user=short, server="")

        assert "/" not in path
        assert path not in ("", ".", "..")


@STEADY
@given(NAMES, NAMES)
def test_two_names_never_share_an_escaped_path(one: str, other: str) -> None:
    for make in (escape, escape_legacy):
        assert (make(one) == make(other)) == (one == other)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "/etc"])
def test_a_raw_name_that_is_no_single_component_is_refused(name: str) -> None:
    storage = Storage(root="/homes", template="{raw_username}")

    with pytest.raises(HomeRefused, match="single") as refused:
        path_below(storage, user=name, server="")

    assert refused.value.reason == "home_name"


@pytest.mark.parametrize(
    "template",
    ["{0}", "{username.__class__}", "{username!r}", "{username:>9}", "{nobody}", "../{username}",
     "/{username}", "{username}/", "a//{username}", "./{username}", "{servername}"],
)  # fmt: skip
def test_a_template_that_says_anything_else_is_refused(template: str) -> None:
    storage = Storage(root="/homes", template=template)

    with pytest.raises(HomeRefused) as refused:
        path_below(storage, user="alice", server="")

    assert refused.value.reason == "home_template"


def test_a_server_name_has_its_own_place() -> None:
    storage = Storage(root="/homes", template="{username}/{servername}")

    assert path_below(storage, user="alice", server="Big GPU") == "alice/big-20gpu"


def test_a_name_too_long_for_a_directory_is_refused() -> None:
    with pytest.raises(HomeRefused) as refused:
        path_below(Storage(root="/homes"), user="é" * 200, server="")

    assert refused.value.reason == "home_name"


def person(user: str = "alice") -> Person:
    return Person(user=user, server="", uid=os.getuid(), gid=os.getgid())


def test_an_existing_home_is_opened(tmp_path: Path) -> None:
    (tmp_path / "homes" / "alice").mkdir(parents=True)

    handle = Homes(tmp_path / "owners").open(Storage(root=str(tmp_path / "homes")), person())
    same = os.fstat(handle).st_ino == (tmp_path / "homes" / "alice").stat().st_ino
    os.close(handle)

    assert same


def test_a_missing_home_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "homes").mkdir()

    with pytest.raises(HomeRefused, match="homes/alice does not exist"):
        Homes(tmp_path / "owners").open(Storage(root=str(tmp_path / "homes")), person())

    assert list((tmp_path / "homes").iterdir()) == []


def test_a_symlink_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "alice").mkdir(parents=True)
    (tmp_path / "homes").mkdir()
    (tmp_path / "homes" / "team").symlink_to(tmp_path / "elsewhere")
    storage = Storage(root=str(tmp_path / "homes"), template="team/{username}")

    with pytest.raises(HomeRefused) as refused:
        Homes(tmp_path / "owners").open(storage, person())

    assert refused.value.reason == "home_unsafe"


def test_a_missing_root_blames_the_node_and_not_the_person(tmp_path: Path) -> None:
    with pytest.raises(HomeUnreachable, match=r"storage\.root"):
        Homes(tmp_path / "owners").open(Storage(root=str(tmp_path / "no")), person())


def test_a_path_stays_its_first_users_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "homes" / "shared").mkdir(parents=True)
    storage = Storage(root=str(tmp_path / "homes"), template="shared")
    os.close(Homes(tmp_path / "owners").open(storage, person("alice")))

    os.close(Homes(tmp_path / "owners").open(storage, person("alice")))
    with pytest.raises(HomeRefused) as refused:
        Homes(tmp_path / "owners").open(storage, person("bob"))

    assert refused.value.reason == "home_taken"
