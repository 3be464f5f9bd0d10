"""The admin's word on as whom a notebook runs: from the hook into the seal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import HTTPError

from controlplane.messages import LeaseRequest
from controlplane.model.identity import Identity
from controlplane.spawner.door import Door
from tests.spawner import stage
from tests.spawner.test_environment import opened, sent

ANN = {"uid": 2001, "gid": 3001, "groups": [5001], "name": "ann"}


async def later(spawner: Any) -> dict[str, Any]:
    return {"uid": 2001, "groups": {5002, 5001}}


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        (lambda spawner: ANN, Identity(uid=2001, gid=3001, groups=(5001,), name="ann")),
        (lambda spawner: {"uid": 2001}, Identity(uid=2001)),
        (later, Identity(uid=2001, groups=(5001, 5002))),
        (lambda spawner: None, None),
        (None, None),
    ],
)
async def test_what_the_hook_says_travels_in_the_seal_and_nowhere_else(
    road: stage.Road, door: Door, hook: Callable[[Any], Any] | None, expected: Identity | None
) -> None:
    request = await sent(road, stage.spawner(door, identity=hook))

    assert opened(request).identity == expected
    assert "2001" not in request.model_dump_json(exclude={"sealed"})


async def test_the_hook_knows_whom_it_is_asked_about(road: stage.Road, door: Door) -> None:
    asked = []

    def hook(spawner: Any) -> dict[str, int]:
        asked.append((spawner.user.name, spawner.name))
        return {"uid": 2001}

    await sent(road, stage.spawner(door, identity=hook))

    assert asked == [("ann", "")]


def fails(spawner: Any) -> None:
    raise KeyError("secret of the directory")


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (fails, "identity hook failed (KeyError)"),
        (lambda spawner: 2001, "2001, which is no mapping"),
        (lambda spawner: {"gid": 3001}, "uid: Field required"),
        (lambda spawner: {"uid": "2001"}, "uid: Input should be a valid integer"),
        (lambda spawner: {"uid": 2001, "home": "/"}, "home: Extra inputs are not permitted"),
        (lambda spawner: {"uid": 2001, "name": "a:b"}, "name: String should match"),
    ],
)
async def test_a_hook_that_says_nothing_usable_refuses_the_start(
    road: stage.Road, door: Door, hook: Callable[[Any], Any], said: str
) -> None:
    spawner = stage.spawner(door, identity=hook)

    with pytest.raises(HTTPError) as refused:
        await spawner.start()

    assert said in refused.value.jupyterhub_message
    assert "secret" not in refused.value.jupyterhub_message
    assert refused.value.status_code == 500
    assert road.all(LeaseRequest) == []
