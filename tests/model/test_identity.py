"""Who a person is: the hook, docker-stacks' variables, and what they cannot have."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from controlplane.errors import BadSettings
from controlplane.model.identity import (
    Identity,
    Unfit,
    claimed,
    login,
    refused_in_image,
    without_effect,
)
from controlplane.poolsfile import parse

ANN = Identity(uid=2001, gid=3001, groups=(5001,), name="ann")


@pytest.mark.parametrize(
    ("hook", "environment", "expected"),
    [
        (None, {}, None),
        (ANN, {}, ANN),
        (ANN, {"NB_UID": "2001", "NB_GID": "3001", "NB_USER": "other"}, ANN),
        (None, {"NB_UID": "2001"}, Identity(uid=2001)),
        (None, {"NB_UID": "2001", "NB_GID": "3001"}, Identity(uid=2001, gid=3001)),
        (None, {"NB_UID": "2001", "NB_USER": "ann"}, Identity(uid=2001, name="ann")),
        (None, {"NB_UID": "2001", "NB_USER": "a b"}, Identity(uid=2001)),
        (Identity(uid=2001), {"NB_GID": "3001"}, Identity(uid=2001, gid=3001)),
        (None, {"NB_USER": "ann", "CHOWN_HOME": "yes", "GRANT_SUDO": "no"}, None),
    ],
)
def test_the_hook_and_the_variables_add_up(
    hook: Identity | None, environment: dict[str, str], expected: Identity | None
) -> None:
    assert claimed(hook, environment) == expected


@pytest.mark.parametrize(
    ("hook", "environment", "reason"),
    [
        (ANN, {"NB_UID": "2002"}, "identity_mismatch"),
        (ANN, {"NB_GID": "3002"}, "identity_mismatch"),
        (None, {"NB_UID": "ann"}, "identity_invalid"),
        (None, {"NB_UID": "-1"}, "identity_invalid"),
        (None, {"NB_UID": "4294967295"}, "identity_invalid"),
        (None, {"NB_GID": "100"}, "identity_unknown"),
        (ANN, {"GRANT_SUDO": "yes"}, "identity_sudo"),
        (None, {"GRANT_SUDO": "1"}, "identity_sudo"),
    ],
)
def test_what_contradicts_itself_or_cannot_be_had_is_refused(
    hook: Identity | None, environment: dict[str, str], reason: str
) -> None:
    with pytest.raises(Unfit) as refused:
        claimed(hook, environment)

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "given",
    [
        {"uid": -1}, {"uid": 2**32 - 1}, {"uid": "2001"}, {"uid": True}, {"gid": 3001},
        {"uid": 2001, "groups": list(range(1, 66))}, {"uid": 2001, "name": "a:b"},
        {"uid": 2001, "name": "a\nb"}, {"uid": 2001, "name": "ann\n"}, {"uid": 2001, "name": "1a"},
        {"uid": 2001, "name": "a" * 33}, {"uid": 2001, "shell": "/bin/sh"},
    ],
)  # fmt: skip
def test_an_identity_that_no_kernel_or_passwd_file_can_hold_is_none(
    given: dict[str, object],
) -> None:
    with pytest.raises(ValidationError):
        Identity.model_validate(given)


def test_a_notebook_of_the_images_user_is_not_given_out_as_somebody_elses() -> None:
    assert refused_in_image({"NB_UID": "1000", "NB_GID": "100"}, 1000, 100) == ""
    assert "NB_UID is 2001" in refused_in_image({"NB_UID": "2001"}, 1000, 100)
    assert "NB_GID is 200" in refused_in_image({"NB_UID": "1000", "NB_GID": "200"}, 1000, 100)


def test_what_only_a_start_as_root_obeys_is_named() -> None:
    environment = {"NB_USER": "ann", "CHOWN_HOME": "yes", "GRANT_SUDO": "yes", "CHOWN_EXTRA": "no"}

    assert without_effect(environment, run_as="image") == ["CHOWN_HOME", "GRANT_SUDO", "NB_USER"]
    assert without_effect(environment, run_as="user") == ["CHOWN_HOME"]


@pytest.mark.parametrize(
    ("name", "user", "expected"),
    [("ann", "Ann B", "ann"), ("", "ann", "ann"), ("", "ann@site.org", "ann@site.org"),
     ("", "Ann B", "u2001"), ("", "日", "u2001"), ("", "a" * 40, "u2001"), ("", "../x", "u2001")],
)  # fmt: skip
def test_a_login_name_is_the_given_one_or_the_hubs_or_a_number(
    name: str, user: str, expected: str
) -> None:
    assert login(name, user, 2001) == expected


def pool(run_as: str, environment: str, storage: str = 'storage = { root = "/srv/homes" }') -> str:
    return f"""
        [[pools]]
        name = "lab"
        warm = 1
        [pools.container]
        image = "lab:1"
        run_as = "{run_as}"
        environment = {environment}
        {storage}
    """


@pytest.mark.parametrize(
    ("run_as", "environment", "said"),
    [
        ("user", '{ NB_UID = "2001" }', "has NB_UID, the same for everybody"),
        ("user", '{ NB_USER = "ann" }', "has NB_USER, the same for everybody"),
        ("image", '{ NB_UID = "2001" }', 'write run_as = "user"'),
        ("user", '{ CHOWN_HOME = "yes" }', "has CHOWN_HOME: no notebook may change owners"),
        ("image", '{ GRANT_SUDO = "1" }', "has GRANT_SUDO: no notebook may"),
    ],
)
def test_a_pools_environment_cannot_ask_for_what_it_will_not_get(
    run_as: str, environment: str, said: str
) -> None:
    with pytest.raises(BadSettings, match="leave it out") as told:
        parse(pool(run_as, environment))

    assert said in str(told.value)


def test_a_pool_of_peoples_own_identities_is_accepted_and_needs_homes() -> None:
    harmless = '{ GRANT_SUDO = "no", CHOWN_HOME = "", TZ = "UTC" }'

    parsed = parse(pool("user", harmless))
    with pytest.raises(BadSettings, match=r"without container\.storage"):
        parse(pool("user", "{}", storage=""))

    assert "run_as='user'" in repr(parsed)
