"""Every mistake in a pools file is told with key, value and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from controlplane.errors import BadSettings
from controlplane.model import Limits
from controlplane.poolsfile import load, parse

GOOD = """
[[pools]]
name = "lab"
warm = 4
maximum = 10

[pools.container]
image = "lab:1"
"""


def mistakes(text: str) -> str:
    with pytest.raises(BadSettings) as caught:
        parse(text)
    return str(caught.value)


def with_line(line: str) -> str:
    """The good pool with this line among its own keys instead of one of the same key."""
    key = line.partition("=")[0].strip()
    kept = [old for old in GOOD.splitlines() if old.partition("=")[0].strip() != key]
    return "\n".join(kept).replace("[pools.container]", f"{line}\n[pools.container]")


def test_a_good_file_becomes_its_pools() -> None:
    (pool,) = parse(GOOD).pools

    assert (pool.name, pool.warm, pool.maximum, pool.container.image) == ("lab", 4, 10, "lab:1")


def test_the_demo_s_pools_fit() -> None:
    assert load(Path(__file__).parents[2] / "deploy" / "demo" / "pools.toml").pools


def test_the_example_in_the_docs_fits() -> None:
    page = (Path(__file__).parents[2] / "docs" / "pools.md").read_text()

    assert parse(page.split("```toml")[1].split("```")[0]).pools


def test_a_backup_beside_the_root_fits() -> None:
    storage = '[pools.container.storage]\nroot = "/srv/homes"\nbackup = "/srv/homes-copy"'

    (pool,) = parse(GOOD + storage).pools

    assert pool.container.storage is not None
    assert pool.container.storage.backup_access == "ro"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("warm = 11", "warm = 11 is more than maximum = 10: the target could never be reached"),
        ("warm = -1", "warm = -1: input should be greater than or equal to 0"),
        ("warm = 2.5", "warm = 2.5: input should be a valid integer"),
        ('warm = "4"', "warm = '4': input should be a valid integer"),
        ("warm = true", "warm = True: input should be a valid integer"),
        ("warm_per_node = 1", "give exactly one of `warm` (in total) and `warm_per_node`"),
        ("refill_below = 5", "refill_below = 5 is more than warm = 4"),
        ("refill_below = 0", "refill_below = 0 with warm = 4: refill would never start"),
        ("max_age_seconds = 10", "max_age_seconds = 10: input should be greater than or equal"),
        ('name = "Big Lab"', "name = 'Big Lab': at most 40 lower-case letters"),
        ("maximun = 3", "maximun = 3: there is no such key; did you mean maximum?"),
        ('image = "lab:1"', "there is no such key here; it belongs to container.image"),
        ("zebra = 1", "there is no such key; known here are container, description"),
        ("max_per_user = 0", "max_per_user = 0: input should be greater than or equal to 1"),
        ('max_per_user = "1"', "max_per_user = '1': input should be a valid integer"),
        ("max_per_group = 3", "write for example max_per_group = { students = 30 }"),
        ("max_per_group = { a = -1 }", "max_per_group.a = -1: input should be greater than"),
        ("gpus = 2", "gpus = 2: GPUs are not supported yet"),
        ('groups = "students"', "groups = 'students': input should be a valid array"),
        ('container.run_as = "root"', "run_as = 'root': input should be 'image' or 'user'"),
    ],
)
def test_a_mistake_is_told_with_key_value_and_fix(line: str, said: str) -> None:
    if line.startswith("container."):
        text = GOOD + line.removeprefix("container.")
    else:
        text = with_line(line)

    assert said in mistakes(text)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("[pools.container.resources]\ngpu = 1", "container.resources.gpu = 1: GPUs are not"),
        ('[pools.container.resources]\nmemory_mib = "2G"', "write for example memory_mib = 1024"),
        ("[pools.container.environment]\nA = 1", "container.environment.A = 1: input should be"),
        ("[pools.container.storage]", "container.storage.root is missing: write for example root"),
        (
            '[pools.container.storage]\nbackup = "/copy"',
            "container.storage.root is missing: write for example root",
        ),
        (
            '[pools.container.storage]\nroot = "/srv"\nbackup = "copy"',
            "container.storage.backup = 'copy': must be an absolute path; write for example backup",
        ),
        (
            '[pools.container.storage]\nroot = "/srv"\nbackup = "/copy"\nbackup_access = "w"',
            "container.storage.backup_access = 'w': input should be 'ro' or 'rw'",
        ),
        (
            '[pools.container.storage]\nroot = "/srv"\nbackup_access = "rw"',
            "container.storage.backup_access = 'rw' without container.storage.backup",
        ),
        *(
            (
                f'[pools.container.storage]\nroot = "/srv/homes"\nbackup = "{backup}"',
                f"container.storage.backup = '{backup}' and container.storage.root = '/srv/homes' "
                "are one directory, or one is inside the other",
            )
            for backup in ("/srv/homes", "/srv/homes/", "/srv/./homes/copy", "/srv")
        ),
        (
            '[pools.container.storage]\nroot = "/srv"\ntemplate = "../{username}"',
            "container.storage.template = '../{username}' leaves the root",
        ),
        (
            '[[pools.container.mounts]]\nsource = "data"\ntarget = "/data"',
            "container.mounts.0.source = 'data': must be an absolute path",
        ),
        (
            '[[pools.container.mounts]]\nsource = "/data"\ntarget = "/"',
            "container.mounts = '/' would cover the system",
        ),
        (
            '[pools.container.storage]\nroot = "/srv"\ntarget = "/data"\n'
            '[[pools.container.mounts]]\nsource = "/data"\ntarget = "/data/"',
            "'/data' is the target of 2 mounts",
        ),
    ],
)
def test_a_mistake_further_down_is_told_with_its_whole_key(lines: str, said: str) -> None:
    assert said in mistakes(GOOD + lines)


def test_a_container_that_no_order_to_an_agent_can_carry_is_refused() -> None:
    long = "x" * 40_000

    said = mistakes(f'{GOOD}environment = {{ LICENSE = "{long}" }}')

    assert "at most 32768" in said
    assert "LICENSE" in said


def test_two_pools_of_one_name_are_refused() -> None:
    assert "name = 'lab' stands 2 times" in mistakes(GOOD + GOOD)


def test_everything_wrong_is_told_at_once() -> None:
    text = with_line("warm = -1").replace("maximum = 10", "maximum = -1")

    assert "warm = -1" in mistakes(text)
    assert "maximum = -1" in mistakes(text)


def test_every_sentence_names_its_pool_and_file() -> None:
    with pytest.raises(BadSettings, match=r"^here\.toml: pool 'lab': warm = -1"):
        parse(with_line("warm = -1"), source="here.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no pool in it: begin one with [[pools]]"),
        ("[pools]\nname = 'lab'", "write [[pools]], with two brackets"),
        ("pool = 1", "pool = 1: is not known here; pools begin with [[pools]]"),
        ("pools = [1]", "pool number 1: 1 is no pool"),
        ("[[pools]\n", "is not TOML"),
        ("[[pools]]\nwhen = 2026-01-01", "when = '2026-01-01': there is no such key"),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, said: str) -> None:
    assert said in mistakes(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="there is no such file"):
        load(tmp_path / "pools.toml")


def test_a_directory_is_no_pools_file(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="is a directory"):
        load(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pools.toml"
    path.write_bytes("name = 'Größe'".encode("latin-1"))

    with pytest.raises(BadSettings, match="not UTF-8 at byte 10"):
        load(path)


def test_limits_over_all_pools_are_a_table_of_their_own() -> None:
    file = parse(f'{GOOD}\n[limits]\nmax_per_user = 3\nmax_per_group = {{ "my team" = 40 }}')

    assert file.limits == Limits(max_per_user=3, max_per_group={"my team": 40})


def test_more_groups_than_a_hub_can_be_told_of_are_refused() -> None:
    many = ", ".join(f'"{n}{"g" * 240}" = 1' for n in range(40))

    said = mistakes(with_line(f"max_per_group = {{ {many} }}"))

    assert "max_per_group is" in said
    assert "limit fewer groups, or shorter names" in said


def test_a_file_that_says_nothing_of_limits_has_none() -> None:
    assert parse(GOOD).limits is None
    assert parse(f"{GOOD}\n[limits]").limits == Limits()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("[limits]\nmax_per_user = 0", "[limits]: max_per_user = 0: input should be greater than"),
        ("[limits]\nmax_user = 3", "[limits]: max_user = 3: there is no such key; did you mean"),
        ("[limits]\nmaximum = 3", "it belongs to maximum"),
        ("[limits]\nmax_per_group = { a = 'x' }", "max_per_group = { students = 40 }"),
        ("[[limits]]\nmax_per_user = 1", "write [limits], with one bracket"),
    ],
)
def test_a_mistake_in_limits_is_told_with_its_table(lines: str, said: str) -> None:
    assert said in mistakes(GOOD + lines)
