from __future__ import annotations

from typing import Any

import pytest
from tornado.web import HTTPError

from controlplane.messages import LeaseRequest
from controlplane.spawner import options
from controlplane.spawner import spawner as spawner_module
from controlplane.spawner.door import Door
from tests.spawner import stage
from tests.spawner.stage import serve

POOLS = [stage.pool(), stage.pool("large", groups=("staff", "admins"), description="<b>big</b>")]


@pytest.fixture
async def door(road: stage.Road) -> Any:
    door = await stage.open_door(road, pools=POOLS)
    yield door
    await door.close()


async def asked_pool(road: stage.Road, door: Door, user_options: Any, **how: Any) -> str:
    road.answer = serve
    spawner = stage.spawner(door, **how)
    spawner.user_options = user_options
    await spawner._run_apply_user_options(spawner.user_options)
    await spawner.start()
    return str(road.all(LeaseRequest)[0].pool)


async def test_the_profile_chooses_the_pool(road: stage.Road, door: Door) -> None:
    pool = await asked_pool(road, door, {"profile": "large"}, groups=["staff"])

    assert pool == "large"
    assert road.all(LeaseRequest)[0].groups == ("staff",)


async def test_without_a_choice_it_is_the_configured_pool(road: stage.Road, door: Door) -> None:
    assert await asked_pool(road, door, {}, groups=["staff"]) == "small"


async def test_the_only_pool_needs_no_choice(road: stage.Road, door: Door) -> None:
    assert await asked_pool(road, door, {}, pool="") == "small"


async def test_several_pools_and_no_choice_names_them(road: stage.Road, door: Door) -> None:
    with pytest.raises(HTTPError) as caught:
        await asked_pool(road, door, {}, pool="", groups=["admins"])

    assert caught.value.status_code == 400
    assert "large, small" in caught.value.jupyterhub_message


async def test_a_pool_of_other_groups_is_refused_at_the_start(road: stage.Road, door: Door) -> None:
    with pytest.raises(HTTPError) as caught:
        await asked_pool(road, door, {"profile": "large"}, groups=["students"])

    assert caught.value.status_code == 403
    assert road.all(LeaseRequest) == []


async def test_a_pool_that_this_hub_does_not_know_is_for_the_worker_to_decide(
    road: stage.Road, door: Door
) -> None:
    assert await asked_pool(road, door, {"profile": "brand-new"}) == "brand-new"


async def test_without_a_snapshot_the_worker_decides_about_groups(road: stage.Road) -> None:
    door = await stage.open_door(road)

    assert await asked_pool(road, door, {"profile": "large"}) == "large"
    await door.close()


async def test_a_start_that_needs_the_pools_waits_for_the_first_snapshot_and_then_says_so(
    road: stage.Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "FIRST_SNAPSHOT_SECONDS", 0.01)
    door = await stage.open_door(road)

    with pytest.raises(HTTPError) as caught:
        await asked_pool(road, door, {}, pool="")

    assert caught.value.status_code == 503
    await door.close()


@pytest.mark.parametrize(
    "user_options",
    [
        {"profile": "small", "colour": "red"},
        {"profile": 5},
        {"profile": ["small"]},
        {"profile": {"a": 1}},
        {"profile": "../etc"},
        {"profile": "SMALL"},
        {"profile": "small\n"},
        {"profile": "x" * 10_000},
        {"image": "evil"},
    ],
)
async def test_options_that_make_no_sense_are_refused(
    road: stage.Road, door: Door, user_options: Any
) -> None:
    with pytest.raises(HTTPError) as caught:
        await asked_pool(road, door, user_options)

    assert caught.value.status_code == 400
    assert road.all(LeaseRequest) == []


async def test_a_hook_of_the_admin_may_have_options_of_its_own(
    road: stage.Road, door: Door
) -> None:
    def hook(spawner: Any, user_options: Any) -> None:
        spawner.environment = {"COLOUR": user_options["colour"]}

    pool = await asked_pool(road, door, {"colour": "red"}, apply_user_options=hook)

    assert pool == "small"


async def test_the_form_offers_the_pools_of_the_user_and_escapes_them(door: Door) -> None:
    form = await stage.spawner(door, groups=["staff"]).get_options_form()

    assert '<option value="large">' in form
    assert '<option value="small" selected>' in form
    assert "<b>" not in form


async def test_there_is_no_form_without_a_choice(door: Door) -> None:
    assert await stage.spawner(door).get_options_form() == ""


def test_the_form_becomes_options() -> None:
    spawner = stage.spawner(stage.shut_door(), running=False)

    assert spawner.run_options_from_form({"profile": ["large"]}) == {"profile": "large"}


def test_no_pool_at_all_is_said() -> None:
    with pytest.raises(HTTPError) as caught:
        options.the_pool("", {}, ())

    assert caught.value.status_code == 403
