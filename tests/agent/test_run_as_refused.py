"""Who nobody becomes, and homes on storage that lets no root of another machine in."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.messages import RunActivated, RunRefused, WarmupFailed, WarmupReady
from controlplane.model.identity import Identity
from controlplane.model.pool import Storage
from tests.agent.peoples import Somebody, be_root, open_root, squashed
from tests.agent.test_run_as import order
from tests.agent.theatre import Theatre
from workers.agent.homes import HomeRefused, Homes, Person, owners_above
from workers.agent.identity import IdentityRefused, Owner, decide

ANN = Somebody(name="ann", uid=2001, gid=3001)
HOME = Owner(path="/homes/ann", uid=2001, gid=3001)
simulated = pytest.mark.parametrize("either", ["simulated"], indirect=True)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (None, {"uid": 2001, "gid": 3001, "groups": [], "name": "ann"}),
        (Identity(uid=2001), {"uid": 2001, "gid": 3001, "groups": [], "name": "ann"}),
        (
            Identity(uid=2001, gid=100, groups=(5001,), name="a.nn"),
            {"uid": 2001, "gid": 100, "groups": [5001], "name": "a.nn"},
        ),
    ],
)
def test_a_person_is_the_owner_of_their_home_with_what_the_hub_adds(
    claim: Identity | None, expected: dict[str, Any]
) -> None:
    assert decide(claim, HOME, minimum=1000, user="ann") == expected


@pytest.mark.parametrize(
    ("claim", "owner", "minimum", "reason"),
    [
        (None, Owner(path="/homes/ann", uid=0, gid=3001), 1, "identity_low"),
        (None, Owner(path="/homes/ann", uid=2001, gid=0), 1000, "identity_low"),
        (None, Owner(path="/homes/ann", uid=999, gid=3001), 1000, "identity_low"),
        (None, HOME, 2002, "identity_low"),
        (Identity(uid=2002), HOME, 1000, "identity_mismatch"),
        # Below somebody else's directory, who may have moved it there.
        (None, replace(HOME, above=frozenset({0, 2002})), 1000, "identity_mismatch"),
        (Identity(uid=2001, gid=0), HOME, 1000, "identity_low"),
        (Identity(uid=2001, groups=(5, 0)), HOME, 1000, "identity_low"),
    ],
)
def test_nobody_is_root_or_below_the_minimum_or_somebody_else(
    claim: Identity | None, owner: Owner, minimum: int, reason: str
) -> None:
    with pytest.raises(IdentityRefused) as refused:
        decide(claim, owner, minimum=minimum, user="ann")

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("claim", "above"),
    [(None, {0, 500, 2001}), (None, {65534}), (Identity(uid=2001), {2002})],
)
def test_a_home_below_its_owner_s_or_the_system_s_directories_or_of_whom_the_hub_names_is_taken(
    claim: Identity | None, above: set[int]
) -> None:
    owner = replace(HOME, above=frozenset(above))

    assert decide(claim, owner, minimum=1000, user="ann")["uid"] == 2001


@simulated
async def test_nobody_becomes_whose_directory_they_moved_into_their_own_home(
    either_theatre: Theatre,
) -> None:
    theatre = either_theatre
    home = theatre.home_of("ann")
    (home / "gpu").mkdir()
    os.chown(home, 2001, 3001)
    os.chown(home / "gpu", 2002, 3002)
    storage = Storage(root=str(theatre.homes), template="{username}/{servername}")
    notebook = await warm(theatre, storage=storage)

    await theatre.take(order(theatre, notebook, "ann", server="gpu"))
    refused = await theatre.reported.wait(RunRefused)

    assert (refused.reason, refused.terminal) == ("identity_mismatch", True)
    assert not theatre.agent.node.slots.has_home(notebook)


async def warm(theatre: Theatre, **spec: Any) -> str:
    create = theatre.create_order(spec=theatre.spec(**{"run_as": "user", **spec}))
    await theatre.take(create)
    await theatre.reported.wait(WarmupReady, fits=lambda r: r.notebook == create.notebook)
    return create.notebook


@simulated
@pytest.mark.parametrize(
    ("owner", "identity", "environment", "reason"),
    [
        ((0, 0), None, {}, "identity_low"),
        ((500, 500), None, {}, "identity_low"),
        ((2001, 3001), Identity(uid=0), {}, "identity_low"),
        ((2001, 3001), None, {"NB_UID": "2002"}, "identity_mismatch"),
        ((2001, 3001), Identity(uid=2001), {"NB_UID": "2002"}, "identity_mismatch"),
        ((2001, 3001), None, {"NB_UID": "ann"}, "identity_invalid"),
        ((2001, 3001), None, {"GRANT_SUDO": "yes"}, "identity_sudo"),
    ],
)
async def test_a_lease_that_may_not_be_who_it_asks_for_is_refused_for_good(
    either_theatre: Theatre,
    owner: tuple[int, int],
    identity: Identity | None,
    environment: dict[str, str],
    reason: str,
) -> None:
    theatre = either_theatre
    os.chown(theatre.home_of("ann"), *owner)
    notebook = await warm(theatre)

    await theatre.take(order(theatre, notebook, "ann", identity=identity, **environment))
    refused = await theatre.reported.wait(RunRefused)

    assert (refused.reason, refused.terminal) == (reason, True)
    assert not theatre.agent.node.slots.has_home(notebook)


@simulated
async def test_a_missing_home_is_made_for_whom_the_hub_names_and_for_nobody_else(
    either_theatre: Theatre,
) -> None:
    theatre = either_theatre
    storage = Storage(root=str(theatre.homes), create_missing=True)
    first, second, third = [await warm(theatre, storage=storage) for _ in range(3)]

    await theatre.take(order(theatre, first, "nobody"))
    unknown = await theatre.reported.wait(RunRefused)
    await theatre.take(order(theatre, second, "root", identity=Identity(uid=1, gid=1)))
    low = await theatre.reported.wait(RunRefused, times=2)
    await theatre.take(order(theatre, third, "ann", identity=Identity(uid=2001, gid=3001)))
    await theatre.reported.wait(RunActivated)
    made = (theatre.homes / "ann").stat()

    assert [unknown.reason, low.reason] == ["identity_unknown", "identity_low"]
    assert str(theatre.homes / "nobody") in unknown.detail
    assert os.listdir(theatre.homes) == ["ann"]
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (2001, 3001, 0o700)


@simulated
async def test_a_notebook_of_the_images_user_is_not_given_out_as_another(
    either_theatre: Theatre,
) -> None:
    theatre = either_theatre
    theatre.home_of("ann")
    notebook = await warm(theatre, run_as="image")

    await theatre.take(order(theatre, notebook, "ann", NB_UID="2001"))
    refused = await theatre.reported.wait(RunRefused)

    assert (refused.reason, refused.terminal) == ("identity_image", True)
    assert 'run_as = "user"' in refused.detail


@simulated
async def test_without_homes_nobody_can_be_found_out(either_theatre: Theatre) -> None:
    create = either_theatre.create_order(spec=either_theatre.spec(run_as="user", storage=None))

    await either_theatre.take(create)
    failed = await either_theatre.reported.wait(WarmupFailed)

    assert failed.reason == "refused"
    assert "needs storage" in failed.detail


@pytest.fixture
def root_squash() -> ThreadPoolExecutor:
    be_root()
    return squashed()


def opened(pool: ThreadPoolExecutor, storage: Storage, owners: Path, server: str = "") -> Path:
    """Where the home is that such a node opens."""
    person = Person(user="ann", server=server, uid=ANN.uid, gid=ANN.gid)
    handle = pool.submit(Homes(owners).open, storage, person).result(timeout=60)
    try:
        return Path(os.readlink(f"/proc/self/fd/{handle}"))
    finally:
        os.close(handle)


def test_a_named_servers_home_is_found_where_only_its_owner_may_enter(
    root_squash: ThreadPoolExecutor, tmp_path: Path
) -> None:
    homes = tmp_path / "homes"
    open_root(homes)
    home = ANN.make_home(homes, "ann/big-20gpu")
    storage = Storage(root=str(homes), template="{username}/{servername}")

    with root_squash:
        with pytest.raises(PermissionError):
            root_squash.submit(os.listdir, home.parent).result(timeout=60)
        found = opened(root_squash, storage, tmp_path / "owners", "Big GPU")

    assert found == home


def test_a_named_servers_home_is_made_by_its_owner_where_root_may_not(
    root_squash: ThreadPoolExecutor, tmp_path: Path
) -> None:
    homes = tmp_path / "homes"
    open_root(homes)
    ANN.make_home(homes)
    storage = Storage(
        root=str(homes), template="{username}/servers/{servername}", create_missing=True
    )

    with root_squash:
        found = opened(root_squash, storage, tmp_path / "owners", "gpu")
    made = found.stat()

    assert found == homes / "ann" / "servers" / "gpu"
    assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (ANN.uid, 0o700)


def test_owners_are_read_from_the_root_down_and_a_home_that_was_moved_is_refused(
    root_squash: ThreadPoolExecutor, tmp_path: Path
) -> None:
    homes = tmp_path / "homes"
    open_root(homes)
    home = ANN.make_home(homes, "ann/gpu")
    storage = Storage(root=str(homes), template="{username}/{servername}")
    handle = os.open(home, os.O_PATH)

    with root_squash:
        above = root_squash.submit(owners_above, handle, storage, "ann/gpu").result(timeout=60)
        home.rename(homes / "ann" / "old")
        ANN.make_home(homes, "ann/gpu")
        with pytest.raises(HomeRefused) as refused:
            root_squash.submit(owners_above, handle, storage, "ann/gpu").result(timeout=60)
    os.close(handle)

    assert above == {ANN.uid}
    assert refused.value.reason == "home_unsafe"


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_home_that_root_may_not_make_or_give_away_is_refused_and_nothing_is_left(
    root_squash: ThreadPoolExecutor, tmp_path: Path, mode: int
) -> None:
    homes = tmp_path / "homes"
    homes.mkdir()
    os.chown(homes, 2999, 2999)
    homes.chmod(mode)
    storage = Storage(root=str(homes), create_missing=True)

    with root_squash, pytest.raises(HomeRefused, match="root_squash") as refused:
        opened(root_squash, storage, tmp_path / "owners")

    assert refused.value.reason == "home_not_made"
    assert os.listdir(homes) == []
