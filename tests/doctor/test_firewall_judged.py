"""What the doctor says of the rules around notebooks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controlplane.doctor import firewall, network
from controlplane.doctor.finding import Level
from controlplane.doctor.firewall import Rules
from controlplane.doctor.network import Neighbours
from controlplane.settings import NodeSettings, Settings

RULES = Rules(root=True, backend="nftables", held=True, agent=True, hubs=1)


def settings(**node: Any) -> Settings:
    return Settings(node=NodeSettings.model_validate(node))


@pytest.mark.parametrize(
    ("change", "node", "level", "says"),
    [
        ({}, {}, Level.OK, "notebooks reach one hub, DNS and internet; they are reached by one"),
        ({"hubs": 2}, {"egress": "none"}, Level.OK, "reach 2 hubs, DNS alone"),
        ({}, {"clients": "10.0.0.9"}, Level.OK, "one hub, 10.0.0.9 and this machine"),
        ({"agent": False, "held": False}, {}, Level.OK, "will set its rules with nftables"),
        ({"held": False}, {}, Level.FAIL, "the agent's network has no rules"),
        ({"rootless": True}, {}, Level.WARN, "who reaches a notebook's port is not limited"),
        ({"backend": "", "why": "no nft"}, {}, Level.WARN, "no nft"),
        ({"backend": "", "why": "no nft"}, {"firewall": "require"}, Level.FAIL, "no nft"),
        ({"root": False}, {}, Level.WARN, "only root"),
        ({}, {"firewall": "off"}, Level.WARN, "cloud metadata"),
    ],
)
def test_the_rules_are_judged(
    change: dict[str, Any], node: dict[str, Any], level: Level, says: str
) -> None:
    found = firewall.judge(settings(**node), replace(RULES, **change))

    assert found.level is level
    assert says in found.seen
    assert bool(found.fix) is (level is not Level.OK)


def test_a_notebook_that_reaches_metadata_is_a_failure() -> None:
    seen = Neighbours(
        listens=True, direct=False, published=False, agents=True, closed=("cloud metadata",)
    )

    assert network.judge_neighbours(seen).level is Level.FAIL
    assert "cloud metadata" in network.judge_neighbours(seen).seen


def test_the_broker_is_tried_where_it_is_somewhere_else() -> None:
    here = Settings.model_validate({"amqp_url": "amqp://u:p@127.0.0.1:5672/"})
    there = Settings.model_validate({"amqp_url": "amqps://u:p@10.0.0.9:5671/"})

    assert set(network.forbidden(here)) == {"cloud metadata"}
    assert network.forbidden(there)["RabbitMQ"] == ("10.0.0.9", 5671)


def test_an_agent_that_wrote_nothing_down_was_told_nothing(tmp_path: Path) -> None:
    given = settings(state_dir=tmp_path)

    assert firewall.surroundings(given).hubs == ()
