from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tornado.web import HTTPError

from controlplane.errors import Refused
from controlplane.messages import ActivateNotebook, LeaseRequest
from controlplane.seal import Contents, Seal
from controlplane.spawner import GreenroomSpawner, asking, hub_url
from controlplane.spawner.door import Door
from tests.spawner import stage
from tests.spawner.stage import serve


def opened(request: LeaseRequest, **other: Any) -> Contents:
    """What the agent finds inside the seal."""
    fields = request.model_dump() | other
    command = ActivateNotebook(
        notebook=stage.NOTEBOOK,
        attempt=1,
        epoch=1,
        **{name: fields[name] for name in ActivateNotebook.model_fields if name in fields},
    )
    return Seal([stage.KEY]).open(command, datetime.now(UTC))


async def sent(road: stage.Road, spawner: GreenroomSpawner) -> LeaseRequest:
    road.answer = serve
    await spawner.start()
    request: LeaseRequest = road.all(LeaseRequest)[0]
    return request


async def test_the_notebook_gets_the_environment_of_a_stock_spawner(
    road: stage.Road, door: Door
) -> None:
    spawner = stage.spawner(
        door, environment={"COLOUR": "red", "WHO": lambda spawner: spawner.user.name}
    )

    environment = opened(await sent(road, spawner)).plain()

    assert environment == spawner.get_env()
    assert environment["JUPYTERHUB_API_TOKEN"] == "secret-token"
    assert environment["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:8888/user/ann/"
    assert environment["JUPYTERHUB_API_URL"] == "http://hub.example:8081/hub/api"
    assert (environment["COLOUR"], environment["WHO"]) == ("red", "ann")


async def test_arguments_travel_in_the_seal(road: stage.Road, door: Door) -> None:
    request = await sent(road, stage.spawner(door, args=["--ServerApp.answer=42"]))

    assert opened(request).arguments == ("--ServerApp.answer=42",)


async def test_the_token_is_nowhere_in_clear(road: stage.Road, door: Door) -> None:
    request = await sent(road, stage.spawner(door))

    assert "secret-token" not in request.model_dump_json()


async def test_the_seal_opens_for_its_own_lease_only(road: stage.Road, door: Door) -> None:
    request = await sent(road, stage.spawner(door))

    with pytest.raises(Refused):
        opened(request, user="eve")


async def test_the_seal_outlives_the_budget_and_not_much_more(road: stage.Road, door: Door) -> None:
    before = datetime.now(UTC)
    request = await sent(road, stage.spawner(door, start_timeout=100))

    expires = opened(request).expires_at
    assert expires - before > timedelta(seconds=90)
    assert expires - datetime.now(UTC) <= timedelta(seconds=150)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"N": 3}, "'N'"),
        ({"N": None}, "'N'"),
        ({"N": ["a"]}, "'N'"),
        ({"A=B": "x"}, "'A=B'"),
        ({"": "x"}, "''"),
        ({"N": "a\0b"}, "'N'"),
        ({"N": "\udc80"}, "'N'"),
        ({"LONG": "x" * 60_000}, "LONG (60000)"),
    ],
)
async def test_a_variable_that_cannot_be_given_is_refused_by_name(
    road: stage.Road, door: Door, environment: dict[str, Any], named: str
) -> None:
    spawner = stage.spawner(door)
    spawner.environment = environment

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert named in caught.value.jupyterhub_message
    assert road.all(LeaseRequest) == []


async def test_a_prefix_that_is_not_the_hubs_own_is_refused(road: stage.Road, door: Door) -> None:
    spawner = stage.spawner(door)
    spawner.server.base_url = "/user/eve/"

    with pytest.raises(HTTPError) as caught:
        await spawner.start()

    assert "/user/eve/" in caught.value.jupyterhub_message
    assert road.all(LeaseRequest) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8081/hub/api",
        "http://127.8.9.1:8081/hub/api",
        "http://localhost:8081/hub/api",
        "http://LOCALHOST.:8081/hub/api",
        "http://[::1]:8081/hub/api",
        "http://[::ffff:127.0.0.1]:8081/hub/api",
        "http://0.0.0.0:8081/hub/api",
        "http://[::]:8081/hub/api",
    ],
)
async def test_a_loopback_hub_url_is_refused_with_the_line_that_cures_it(
    road: stage.Road, door: Door, url: str
) -> None:
    with pytest.raises(HTTPError) as caught:
        await stage.spawner(door, api_url=url).start()

    assert "c.JupyterHub.hub_ip = " in caught.value.jupyterhub_message
    assert road.all(LeaseRequest) == []


@pytest.mark.parametrize("host", ["10.0.0.5", "hub", "hub.example", "[fd00::5]", "128.0.0.1"])
def test_other_hub_urls_are_fine(host: str) -> None:
    assert not hub_url.is_loopback(f"http://{host}:8081/hub/api")


@pytest.mark.parametrize("keys", [[], ["not a key"]])
async def test_bad_seal_keys_are_refused_with_the_command_that_makes_one(
    road: stage.Road, door: Door, keys: list[str]
) -> None:
    with pytest.raises(HTTPError) as caught:
        await stage.spawner(door, seal_keys=keys).start()

    assert caught.value.status_code == 503
    assert "greenroom keys new" in caught.value.jupyterhub_message


@pytest.mark.parametrize(
    ("start_timeout", "budget"), [(600, 590), (60, 50), (20, 10), (10, 5), (10**6, 24 * 3600)]
)
def test_the_budget_is_ten_seconds_below_the_hubs_own_limit(
    start_timeout: int, budget: float
) -> None:
    assert asking.budget(start_timeout) == budget
