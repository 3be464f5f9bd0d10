from __future__ import annotations

from typing import Any

import pytest
from tornado.web import HTTPError

from controlplane.messages import HubPools, LeaseRequest, Message, PoolsQuestion
from controlplane.spawner import choosing, options
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
    return await asked_pool_of(road, door, user_options, **how)


async def asked_pool_of(road: stage.Road, door: Door, user_options: Any, **how: Any) -> str:
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
    monkeypatch.setattr(choosing, "FIRST_SNAPSHOT_SECONDS", 0.01)
    door = await stage.open_door(road)

    with pytest.raises(HTTPError) as caught:
        await asked_pool(road, door, {}, pool="")

    assert caught.value.status_code == 503
    await door.close()


NONSENSE = [
    ({"profile": "small", "colour": "red"}, "Unknown options: 'colour' = 'red'. The only one is"),
    ({"profile": 5}, "profile = 5: it must be text, the name of one pool, not int"),
    ({"pool": 5}, "pool = 5: it must be text"),
    ({"profile": ["small", "large"]}, "profile = ['small', 'large']: it must be text"),
    ({"profile": {"a": 1}}, "profile = {'a': 1}: it must be text"),
    ({"profile": "../etc"}, "profile = '../etc': this is not the name of a pool: lower-case"),
    ({"profile": "SMALL"}, "profile = 'SMALL': this is not the name of a pool: lower-case"),
    ({"profile": "small\n"}, "profile = 'small\\n': this is not the name of a pool"),
    ({"profile": "small", "pool": "large"}, "they mean the same, give one of them"),
    ({"profile": "x" * 10_000}, "The options are longer than 8192 characters"),
    ({"image": "evil"}, "Unknown options: 'image' = 'evil'. The only one is 'profile'"),
]


@pytest.mark.parametrize(("user_options", "said"), NONSENSE)
async def test_options_that_make_no_sense_are_refused_with_key_value_and_fix(
    road: stage.Road, door: Door, user_options: Any, said: str
) -> None:
    with pytest.raises(HTTPError) as caught:
        await asked_pool(road, door, user_options)

    assert caught.value.status_code == 400
    assert said in caught.value.jupyterhub_message
    assert road.all(LeaseRequest) == []


@pytest.mark.parametrize(("user_options", "said"), [*NONSENSE, ({"pool": "large"}, "other groups")])
def test_a_form_or_url_is_refused_before_the_hub_keeps_it(
    door: Door, user_options: Any, said: str
) -> None:
    spawner = stage.spawner(door)
    fields = {k: v if isinstance(v, list) else [v] for k, v in user_options.items()}

    for read in (spawner.run_options_from_form, spawner.options_from_query):
        with pytest.raises(HTTPError) as caught:
            read(fields)
        assert said in caught.value.jupyterhub_message


async def test_pool_means_the_same_and_pages_of_the_hub_see_the_profile(
    road: stage.Road, door: Door
) -> None:
    road.answer = serve
    spawner = stage.spawner(door, groups=["staff"])
    spawner.user_options = {"pool": "large"}

    await spawner.start()

    assert road.all(LeaseRequest)[0].pool == "large"
    assert spawner.user_options == {"pool": "large", "profile": "large"}
    assert spawner.orm_spawner.user_options == {"pool": "large", "profile": "large"}


async def test_the_pool_of_who_chose_nothing_is_shown_and_not_kept_as_a_choice(
    road: stage.Road, door: Door
) -> None:
    road.answer = serve
    spawner = stage.spawner(door)
    spawner.orm_spawner.user_options = {}

    await spawner.start()

    assert spawner.user_options == {"profile": "small"}
    assert spawner.orm_spawner.user_options == {}


async def test_refused_options_are_not_what_the_next_start_is_given(
    road: stage.Road, door: Door
) -> None:
    road.answer = serve
    spawner = stage.spawner(door, groups=["staff"])
    spawner.user_options = spawner.orm_spawner.user_options = {"profile": "large"}
    await spawner.start()

    spawner.user_options = spawner.orm_spawner.user_options = {"colour": "red"}
    with pytest.raises(HTTPError):
        await spawner.start()

    assert spawner.user_options == {"profile": "large"}
    assert spawner.orm_spawner.user_options == {"profile": "large"}


async def test_options_that_the_hub_kept_and_that_are_refused_are_kept_no_longer(
    road: stage.Road, door: Door
) -> None:
    """A person who left a group is told once, and not for ever."""
    road.answer = serve
    spawner = stage.spawner(door)
    spawner.user_options = {"profile": "large"}
    spawner._accepted = {"profile": "large"}
    with pytest.raises(HTTPError, match="403"):
        await spawner.start()

    await spawner.start()

    assert road.all(LeaseRequest)[0].pool == "small"


async def test_an_unknown_pool_is_refused_once_all_pools_are_known(
    road: stage.Road, door: Door
) -> None:
    def answer(message: Message) -> Any:
        if isinstance(message, PoolsQuestion):
            yield HubPools(hub="hub1", snapshot="p", pools=tuple(POOLS))
        yield from serve(message)

    road.answer = answer

    with pytest.raises(HTTPError) as caught:
        await asked_pool_of(road, door, {"profile": "smal"})

    assert caught.value.status_code == 400
    assert caught.value.jupyterhub_message == (
        "profile = 'smal': there is no such pool; did you mean 'small'? "
        "Choose a pool with the option 'profile': small."
    )
    assert road.all(LeaseRequest) == []


async def test_a_pool_that_is_new_is_found_by_asking(road: stage.Road, door: Door) -> None:
    fresh = stage.pool("fresh", groups=("staff",))

    def answer(message: Message) -> Any:
        if isinstance(message, PoolsQuestion):
            yield HubPools(hub="hub1", snapshot="p", pools=(*POOLS, fresh))
        yield from serve(message)

    road.answer = answer

    with pytest.raises(HTTPError, match="403"):
        await asked_pool_of(road, door, {"profile": "fresh"})
    await asked_pool_of(road, door, {"profile": "fresh"}, groups=["staff"])

    assert [request.pool for request in road.all(LeaseRequest)] == ["fresh"]


async def test_a_hook_of_the_admin_may_have_options_of_its_own(
    road: stage.Road, door: Door
) -> None:
    def hook(spawner: Any, user_options: Any) -> None:
        spawner.environment = {"COLOUR": user_options["colour"]}

    pool = await asked_pool(road, door, {"colour": "red"}, apply_user_options=hook)

    assert pool == "small"


def test_the_form_becomes_options() -> None:
    spawner = stage.spawner(stage.shut_door(), running=False)

    assert spawner.run_options_from_form({"profile": ["large"]}) == {"profile": "large"}


def test_a_url_becomes_options_with_or_without_the_prefix_of_hub_6() -> None:
    spawner = stage.spawner(stage.shut_door(), running=False)

    assert spawner.options_from_query({"opt-pool": ["large"]}) == {"pool": "large"}
    assert spawner.options_from_query({"profile": ["large"], "_xsrf": ["x"]}) == {
        "profile": "large"
    }


def test_no_pool_at_all_is_said() -> None:
    with pytest.raises(HTTPError) as caught:
        options.the_pool("", {}, ())

    assert caught.value.status_code == 403
