"""Orders that must not be carried out, and images that cannot be: each says why."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from controlplane.messages import (
    RunActivated,
    RunFailed,
    RunRefused,
    WarmupFailed,
    WarmupReady,
)
from controlplane.model.pool import Storage
from tests.agent.theatre import Theatre
from workers.agent import syscalls

pytestmark = pytest.mark.engine


async def warm(theatre: Theatre, **spec: object) -> str:
    order = theatre.create_order(spec=theatre.spec(**spec))
    await theatre.take(order)
    await theatre.reported.wait(WarmupReady, fits=lambda r: r.notebook == order.notebook)
    return order.notebook


async def refusal(
    theatre: Theatre, notebook: str, user: str = "alice", **order: object
) -> RunRefused:
    command = theatre.activate_order(notebook, user, **order)
    await theatre.take(command)
    return await theatre.reported.wait(RunRefused, fits=lambda r: r.lease == command.lease)


async def test_bad_orders_are_refused_and_the_notebook_stays_usable(theatre: Theatre) -> None:
    theatre.home_of("alice")
    notebook = await warm(theatre)
    lease = {"hub": "hub1", "server": "", "prefix": "/user/alice/", "user": "alice"}
    of_another = theatre.sealed(**lease, lease=str(uuid4()))
    mine = str(uuid4())
    expired = theatre.sealed(
        **lease, lease=mine, expires_at=datetime.now(UTC) - timedelta(seconds=1)
    )
    of_bob = theatre.sealed(**{**lease, "user": "bob"}, lease=mine)

    reasons = [
        (await refusal(theatre, notebook, sealed=of_another)).reason,
        (await refusal(theatre, notebook, lease=mine, sealed=expired)).reason,
        (await refusal(theatre, notebook, lease=mine, sealed=of_bob)).reason,
        (await refusal(theatre, notebook, sealed="gAAAAA")).reason,
        (await refusal(theatre, notebook, epoch=1)).reason,
        (await refusal(theatre, str(uuid4()))).reason,
    ]
    await theatre.take(theatre.activate_order(notebook))
    activated = await theatre.reported.wait(RunActivated)

    assert reasons == ["seal", "seal", "seal", "seal", "stale_epoch", "unknown_notebook"]
    assert activated.notebook == notebook


async def test_a_missing_home_is_refused_with_the_path_that_was_tried(theatre: Theatre) -> None:
    notebook = await warm(theatre)

    refused = await refusal(theatre, notebook, "Carol Ann", prefix="/user/carol-ann/")

    assert (refused.reason, refused.terminal) == ("home_missing", True)
    assert str(theatre.homes / "-43arol-20-41nn") in refused.detail
    assert list(theatre.homes.iterdir()) == []


async def test_a_home_whose_storage_is_away_is_refused_and_may_be_tried_on_another_node(
    theatre: Theatre, tmp_path: Path
) -> None:
    storage = Storage(root=str(tmp_path / "nfs"), create_missing=True)
    notebook = await warm(theatre, storage=storage)

    refused = await refusal(theatre, notebook)

    assert (refused.reason, refused.terminal) == ("home_unreachable", False)
    assert str(tmp_path / "nfs") in refused.detail
    assert not (tmp_path / "nfs").exists()


async def test_a_home_that_cannot_be_mounted_fails_the_attempt_and_nobody_is_let_in(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    theatre.home_of("alice")
    notebook = await warm(theatre)

    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(syscalls, "bind", stale)
    await theatre.take(theatre.activate_order(notebook))
    failed = await theatre.reported.wait(RunFailed, fits=lambda r: r.notebook == notebook)

    assert failed.reason == "broken"
    assert os.strerror(errno.ESTALE) in failed.detail
    assert theatre.reported.of(RunActivated) == []


async def test_a_home_behind_a_symlink_is_refused(theatre: Theatre, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (theatre.homes / "mallory").symlink_to(secret)
    notebook = await warm(theatre)

    refused = await refusal(theatre, notebook, "mallory")

    assert (refused.reason, refused.terminal) == ("home_unsafe", True)
    assert not theatre.agent.node.slots.has_home(notebook)


async def test_a_name_that_climbs_out_of_the_root_is_refused(theatre: Theatre) -> None:
    storage = Storage(root=str(theatre.homes), template="{raw_username}", create_missing=True)
    notebook = await warm(theatre, storage=storage)

    refused = await refusal(theatre, notebook, "..", prefix="/user/dots/")

    assert (refused.reason, refused.terminal) == ("home_name", True)


async def test_a_path_of_two_users_is_refused_to_the_second(theatre: Theatre) -> None:
    theatre.home_of("shared")
    storage = Storage(root=str(theatre.homes), template="shared")
    mine, other = await warm(theatre, storage=storage), await warm(theatre, storage=storage)
    await theatre.take(theatre.activate_order(mine))
    await theatre.reported.wait(RunActivated)

    refused = await refusal(theatre, other, "bob")

    assert (refused.reason, refused.terminal) == ("home_taken", True)


async def test_a_missing_home_is_made_for_the_notebooks_own_user_when_asked(
    theatre: Theatre,
) -> None:
    storage = Storage(root=str(theatre.homes), template="team/{username}", create_missing=True)
    notebook = await warm(theatre, storage=storage)

    await theatre.take(theatre.activate_order(notebook))
    await theatre.reported.wait(RunActivated)
    made = (theatre.homes / "team" / "alice").stat()

    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (1000, 100, 0o700)


@pytest.fixture
def without_singleuser() -> dict[str, str]:
    # The demo image itself, with a PATH on which there is no Jupyter.
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


async def failure(theatre: Theatre, **spec: object) -> WarmupFailed:
    order = theatre.create_order(spec=theatre.spec(**spec))
    await theatre.take(order)
    return await theatre.reported.wait(WarmupFailed, fits=lambda r: r.notebook == order.notebook)


async def test_an_image_that_is_not_here_is_named(theatre: Theatre) -> None:
    failed = await failure(theatre, image="greenroom-no-such-image:1")

    assert failed.reason == "image_missing"
    assert "greenroom-no-such-image:1" in failed.detail


async def test_an_image_without_jupyter_says_so(
    theatre: Theatre, without_singleuser: dict[str, str]
) -> None:
    failed = await failure(theatre, environment=without_singleuser)

    assert (failed.reason, failed.exit_code) == ("no_singleuser", 64)
    assert "jupyterhub-singleuser" in failed.detail


async def test_an_image_that_ends_at_once_says_so(theatre: Theatre) -> None:
    name = f"{theatre.settings.installation}-ends"
    source = await theatre.peek.containers.create({"Image": theatre.image}, name=name)
    await source.commit(repository=name, tag="1", changes=['ENTRYPOINT ["true"]'])
    await source.delete(force=True)
    try:
        failed = await failure(theatre, image=f"{name}:1")
    finally:
        await theatre.peek.images.delete(f"{name}:1", force=True)

    assert (failed.reason, failed.exit_code) == ("rehearsal", 0)
    assert "entry point" in failed.detail


async def test_a_specification_that_reaches_for_the_node_is_refused(theatre: Theatre) -> None:
    mount = {"source": "/var/run/docker.sock", "target": "/data"}

    failed = await failure(theatre, mounts=[mount])

    assert failed.reason == "refused"
    assert "/var/run/docker.sock" in failed.detail
    assert await theatre.engine.list(theatre.agent.node.labels) == []


async def test_a_dataset_that_does_not_exist_is_named(theatre: Theatre, tmp_path: Path) -> None:
    mount = {"source": str(tmp_path / "no-data"), "target": "/data"}

    failed = await failure(theatre, mounts=[mount])

    assert failed.reason == "refused"
    assert "no-data" in failed.detail


async def test_a_notebook_that_is_not_warm_within_its_budget_says_so(theatre: Theatre) -> None:
    order = theatre.create_order(budget_ms=1)
    await theatre.take(order)
    failed = await theatre.reported.wait(WarmupFailed, fits=lambda r: r.notebook == order.notebook)

    assert failed.reason == "deadline"
    assert "budget of 0.001 s" in failed.detail
