from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jupyterhub.spawner import Spawner
from tornado.web import HTTPError

from controlplane.messages import LeaseRequest
from controlplane.spawner import GreenroomSpawner, traits
from controlplane.spawner.door import Door
from tests.spawner import stage

LISTS = (traits.HONOURED, traits.OWNED, traits.MEANINGLESS)
OTHER_VALUES = {
    "cmd": ["start-notebook.sh"],
    "cpu_guarantee": 1.0,
    "cpu_limit": 4.0,
    "internal_ssl": True,
    "ip": "127.0.0.1",
    "mem_guarantee": "1G",
    "mem_limit": "2G",
    "port": 9999,
    "will_resume": True,
}


def test_every_inherited_trait_is_on_exactly_one_list() -> None:
    listed = sorted(name for names in LISTS for name in names)

    assert listed == sorted(Spawner.class_traits())


@pytest.mark.parametrize("name", sorted(GreenroomSpawner.class_traits().keys() - {"door"}))
def test_every_trait_is_in_the_document(name: str) -> None:
    assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "hub.md").read_text()


def test_our_own_traits_are_not_of_the_hub() -> None:
    own = GreenroomSpawner.class_traits().keys() - Spawner.class_traits().keys()

    assert own == {
        "amqp_url",
        "door",
        "hold_in_start",
        "hub_id",
        "identity",
        "installation",
        "keep_place_seconds",
        "pool",
        "seal_keys",
    }


def test_nothing_that_is_refused_as_foreign_is_a_trait_of_the_hub() -> None:
    assert not traits.FOREIGN & set(Spawner.class_traits())


@pytest.mark.parametrize("name", sorted(traits.OWNED))
async def test_a_trait_that_the_pool_owns_is_refused_by_name(
    road: stage.Road, door: Door, name: str
) -> None:
    spawner = stage.spawner(door)
    setattr(spawner, name, OTHER_VALUES[name])

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert f"{name} is " in caught.value.jupyterhub_message
    assert road.all(LeaseRequest) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("mem_limit", "1G"), ("cpu_limit", 2.0), ("ip", "::"), ("cmd", ["jupyterhub-singleuser"])],
)
async def test_a_value_that_the_pool_gives_anyway_is_fine(
    road: stage.Road, door: Door, name: str, value: Any
) -> None:
    spawner = stage.spawner(door)
    setattr(spawner, name, value)

    spawner._check_traits("small")


@pytest.mark.parametrize("name", ["image", "volumes", "extra_host_config"])
async def test_what_a_hook_for_another_spawner_sets_is_refused_by_name(
    road: stage.Road, door: Door, name: str
) -> None:
    def hook(spawner: GreenroomSpawner) -> None:
        setattr(spawner, name, "something")

    spawner = stage.spawner(door, pre_spawn_hook=hook)
    spawner.run_pre_spawn_hook()

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert f"{name} is set to 'something'" in caught.value.jupyterhub_message


async def test_what_the_configuration_sets_for_another_spawner_is_refused_by_name(
    road: stage.Road, door: Door
) -> None:
    spawner = stage.spawner(door)
    spawner.config.Spawner.image = "jupyter/minimal"

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert "image is set to" in caught.value.jupyterhub_message


def test_the_image_of_the_pool_itself_is_no_conflict() -> None:
    pool = stage.pool(image="jupyter/minimal")

    assert list(traits.conflicts({"image": "jupyter/minimal"}, pool)) == []
    assert list(traits.conflicts({"image": "jupyter/other"}, pool)) != []


def test_the_defaults_fit_containers() -> None:
    spawner = stage.spawner(stage.shut_door(), running=False)

    assert (spawner.ip, spawner.port, spawner.start_timeout) == ("0.0.0.0", 8888, 600)
