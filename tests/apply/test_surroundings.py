"""Which hosts are the control plane's, as a worker's settings say."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from controlplane.apply.surroundings import control, fitting
from controlplane.messages import NodeSurroundings, encode
from controlplane.settings import Settings

HERE = {"postgres_url": "postgresql://u@127.0.0.1/db", "redis_url": "redis://localhost:6379/0"}


@pytest.mark.parametrize(
    ("changes", "hosts"),
    [
        ({}, []),
        ({"postgres_url": "postgresql://u:p@10.0.0.9:5432/db"}, ["10.0.0.9"]),
        (
            {"postgres_url": "postgresql://u@db1.internal,db2.internal:5433/db"},
            ["db1.internal", "db2.internal"],
        ),
        ({"postgres_url": "postgresql:///db?host=/run/postgresql"}, []),
        ({"postgres_url": "postgresql://u@%2Frun%2Fpostgresql/db"}, []),
        ({"redis_url": "rediss://:p@[fd00::9]:6379/0"}, ["fd00::9"]),
        ({"http_host": "10.0.0.8"}, ["10.0.0.8"]),
        ({"http_host": "0.0.0.0"}, []),
        ({"redis_url": "redis://[broken"}, []),
    ],
    ids=str,
)
def test_hosts_of_the_control_plane_but_for_loopback(
    changes: dict[str, str], hosts: list[str]
) -> None:
    secret = {k: SecretStr(v) for k, v in {**HERE, **changes}.items() if k.endswith("url")}
    plain = {k: v for k, v in changes.items() if not k.endswith("url")}

    assert control(Settings.model_validate({**secret, **plain})) == hosts


def test_what_one_hub_says_of_itself_costs_no_other_hub_its_place() -> None:
    def hub(name: str, *clients: str) -> dict[str, object]:
        return {"hub": name, "api_url": "http://10.0.0.1:8081/hub/api", "clients": list(clients)}

    talkative = hub("a", *["x" * 2000] * 16)
    plain = [hub(f"b{number}", "10.0.0.2") for number in range(70)]

    told = fitting([talkative, *plain])

    message = NodeSurroundings.model_validate(
        {"stamp": 1, "hubs": told, "nodes": ["2001:db8:1234:5678:9abc:def0:1234:5678"] * 900}
    )
    assert told == plain[:64]
    encode(message, id="1", source="test", time="now")
