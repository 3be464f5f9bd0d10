from __future__ import annotations

import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.doctor import storage
from controlplane.doctor.finding import Level
from controlplane.doctor.storage import Home, Root, Writing
from controlplane.errors import Unavailable
from controlplane.model import ContainerSpec, Storage

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /srv/homes rw shared:9 - nfs4 server:/homes rw,hard
31 22 0:41 / /srv/my\\040homes rw shared:9 - ceph 192.0.2.1:/ rw
"""
ALICE = Home(path="/srv/homes/alice", uid=1000, gid=100, mode=stat.S_IFDIR | 0o700)
ROOT = Root(path="/srv/homes", mount="nfs4 server:/homes at /srv/homes", homes=(ALICE,))
WROTE = Writing(uid=1000, gids=(100,), wrote=True)


def spec(**change: Any) -> ContainerSpec:
    return ContainerSpec(image="lab", storage=Storage(root="/srv/homes", **change))


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/srv/homes", "nfs4 server:/homes at /srv/homes"),
        ("/srv/homes/staff", "nfs4 server:/homes at /srv/homes"),
        ("/srv/homes2", "ext4 /dev/vda at /"),
        ("/srv/my homes", "ceph 192.0.2.1:/ at /srv/my homes"),
    ],
)
def test_the_mount_below_a_path_is_found(path: str, mount: str) -> None:
    assert storage.mount_of(path, MOUNTS) == mount


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{username}", "*"),
        ("{username}/work", "*/work"),
        ("jupyter-{raw_username}-{servername}", "jupyter-*-*"),
    ],
)
def test_a_template_becomes_a_pattern(template: str, pattern: str) -> None:
    assert storage.pattern(template) == pattern


@pytest.mark.parametrize(
    ("uid", "gids", "mode", "may"),
    [
        (1000, (100,), 0o700, True),
        (1000, (100,), 0o500, False),
        (1001, (100,), 0o700, False),
        (1001, (100,), 0o770, True),
        (1001, (200,), 0o770, False),
        (1001, (200,), 0o777, True),
        # The owner's bits hold for the owner, whatever others may.
        (1000, (200,), 0o077, False),
    ],
)
def test_who_may_write_is_decided_as_the_kernel_does(
    uid: int, gids: tuple[int, ...], mode: int, may: bool
) -> None:
    assert storage.may_write(replace(ALICE, mode=mode), uid, gids) is may


@pytest.mark.parametrize(
    ("root", "create_missing", "level"),
    [
        (ROOT, False, Level.OK),
        (replace(ROOT, homes=()), True, Level.OK),
        (replace(ROOT, homes=()), False, Level.WARN),
        (Root(path="/srv/homes", trouble="No such file or directory"), False, Level.FAIL),
    ],
)
def test_a_root_is_judged(root: Root, create_missing: bool, level: Level) -> None:
    given = Storage(root="/srv/homes", create_missing=create_missing)

    (found,) = storage.judge_root("lab", given, root)

    assert found.level is level


@pytest.mark.parametrize(
    ("pool", "homes", "writing", "level"),
    [
        (spec(), (ALICE,), WROTE, Level.OK),
        (spec(), (replace(ALICE, uid=2001),), WROTE, Level.WARN),
        (spec(read_only=True), (replace(ALICE, uid=2001),), WROTE, Level.OK),
        (spec(), (), replace(WROTE, wrote=False), Level.FAIL),
        (spec(), (ALICE,), replace(WROTE, wrote=None, made="Permission denied"), Level.OK),
        (
            spec(create_missing=True),
            (),
            replace(WROTE, wrote=None, given="Operation not permitted"),
            Level.FAIL,
        ),
    ],
)
def test_writing_in_homes_is_judged(
    pool: ContainerSpec, homes: tuple[Home, ...], writing: Writing, level: Level
) -> None:
    (found,) = storage.judge_homes("lab", pool, replace(ROOT, homes=homes), writing)

    assert found.level is level


@pytest.mark.parametrize(
    ("homes", "made", "level", "said"),
    [
        ((ALICE, replace(ALICE, uid=2001)), "", Level.OK, "2 of them"),
        ((replace(ALICE, uid=0),), "", Level.WARN, "(0:100)"),
        ((replace(ALICE, uid=999),), "", Level.WARN, "node.min_uid = 1000"),
        ((replace(ALICE, gid=0),), "", Level.WARN, "(1000:0)"),
        ((), "Permission denied", Level.FAIL, "Permission denied"),
    ],
)
def test_whom_notebooks_become_is_judged(
    homes: tuple[Home, ...], made: str, level: Level, said: str
) -> None:
    pool = spec(create_missing=True).model_copy(update={"run_as": "user"})
    root, writing = replace(ROOT, homes=homes), replace(WROTE, made=made)

    (found,) = storage.judge_owners("lab", pool, root, writing, min_uid=1000)

    assert found.level is level
    assert said in found.seen


def test_a_root_that_is_not_there_is_told_by_the_kernel_s_own_word(tmp_path: Path) -> None:
    root = storage.look_at(Storage(root=str(tmp_path / "none")))

    assert root.trouble == "No such file or directory"


def test_homes_are_looked_at_by_their_template(tmp_path: Path) -> None:
    (tmp_path / "ann" / "work").mkdir(parents=True)
    (tmp_path / "ben").mkdir()

    root = storage.look_at(Storage(root=str(tmp_path), template="{username}/work"))

    assert [home.path for home in root.homes] == [str(tmp_path / "ann" / "work")]


async def test_a_storage_that_hangs_is_left_to_itself() -> None:
    let_go = threading.Event()

    with pytest.raises(Unavailable, match="did not answer"):
        await storage.in_thread(let_go.wait, seconds=0.05)
    let_go.set()


async def test_what_a_storage_raises_is_raised() -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(PermissionError):
        await storage.in_thread(refuse)
