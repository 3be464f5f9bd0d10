"""Where notebooks may go, as an admin writes it."""

from __future__ import annotations

import ipaddress

import pytest
from pydantic import ValidationError

from controlplane.model import targets
from controlplane.model.targets import Egress, Target
from controlplane.settings import NodeSettings


def to(text: str, *ports: int) -> Target:
    return Target(network=ipaddress.ip_network(text), ports=(ports[0], ports[1]) if ports else None)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("10.0.0.5", to("10.0.0.5/32")),
        ("10.1.0.0/16", to("10.1.0.0/16")),
        ("10.1.2.3/16", to("10.1.0.0/16")),
        ("10.1.0.0/16:443", to("10.1.0.0/16", 443, 443)),
        ("10.1.2.3:5432-5440", to("10.1.2.3/32", 5432, 5440)),
        ("fd00::/8", to("fd00::/8")),
        ("fd00::7", to("fd00::7/128")),
        ("[fd00::/8]:443", to("fd00::/8", 443, 443)),
        ("[fd00::7]", to("fd00::7/128")),
    ],
)
def test_a_target_is_read(text: str, means: Target) -> None:
    assert targets.target(text) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("db.internal:5432", "names are not looked up"),
        ("10.0.0.0/33", "neither an address nor a range"),
        ("10.0.0.1:http", "'http' is no port"),
        ("10.0.0.1:0", "ports go from 1"),
        ("10.0.0.1:70000", "ports go from 1"),
        ("10.0.0.1:20-10", "the smaller one first"),
        ("[fd00::/8", "neither an address nor a range"),
        ("private", "neither an address nor a range"),
    ],
)
def test_what_is_no_target_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        targets.target(text)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("internet", Egress(internet=True)),
        ("none", Egress(internet=False)),
        ("", Egress(internet=False)),
        ("10.0.0.0/8", Egress(internet=False, targets=(to("10.0.0.0/8"),))),
        (
            "internet, 10.0.0.0/8:443,",
            Egress(internet=True, targets=(to("10.0.0.0/8", 443, 443),)),
        ),
    ],
)
def test_egress_is_a_word_or_a_list(text: str, means: Egress) -> None:
    assert targets.egress(text) == means


def test_none_and_more_is_a_contradiction() -> None:
    with pytest.raises(ValueError, match="leave one of them out"):
        targets.egress("none, 10.0.0.0/8")


def test_settings_take_a_list_of_toml_or_a_text_of_the_environment() -> None:
    as_list = NodeSettings.model_validate({"egress": ["internet", "10.0.0.0/8:443"]})
    as_text = NodeSettings.model_validate({"egress": "internet, 10.0.0.0/8:443"})

    assert as_list == as_text


@pytest.mark.parametrize(
    "wrong",
    [
        {"egress": "everything"},
        {"egress": ["internet", 7]},
        {"forbidden": "db.internal"},
        {"clients": "10.0.0.5:80"},
        {"dns": "10.0.0.0/8"},
        {"firewall": "on"},
    ],
    ids=str,
)
def test_settings_refuse_what_is_no_address(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NodeSettings.model_validate(wrong)
