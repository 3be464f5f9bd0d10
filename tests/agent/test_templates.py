"""The same template on a live DockerSpawner and here: the same path, or a refusal that says why."""

from __future__ import annotations

import os
from itertools import product
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from controlplane.model.pool import Storage
from workers.agent.homes import HomeRefused, path_below

USERS = (
    "ann",
    "Ann",
    "ann-b",
    "ann-2db",
    "a.b_c@site.org",
    "Ann Bo",
    "日本",
    "é",
    "e\u0301",
    "I",
    "ß",
)
SERVERS = ("", "gpu", "Big GPU", "a--b", "İ", "Straße", "../x")
TEMPLATES = (
    "{username}",
    "{safe_username}",
    "{raw_username}",
    "jupyterhub-user-{username}",
    "{username}/work",
    "{username}/{servername}",
    "homes/{username}-{servername}",
    "{username}/{raw_servername}",
    "{{x}}-{username}",
)
Escape = Literal["default", "legacy"]


def as_dockerspawner(template: str, user: str, server: str, escape: Escape) -> str:
    """What its own code makes of the left side of `volumes`."""
    try:
        from dockerspawner import DockerSpawner
    except ImportError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no DockerSpawner here")
    more: dict[str, Any] = {} if escape == "default" else {"escape": "legacy"}
    spawner = DockerSpawner(
        user=SimpleNamespace(name=user, url="/", escaped_name=user),
        orm_spawner=SimpleNamespace(name=server, server=None, state=None),
        **more,
    )
    binds = spawner._volumes_to_binds({f"/homes/{template}": "/home/jovyan"}, {})
    return str(next(iter(binds))).removeprefix("/homes/")


def is_a_path(path: str) -> bool:
    """Whether it is one below the root, whoever made it."""
    return all(part not in ("", ".", "..") for part in path.split("/"))


@pytest.mark.parametrize("escape", ["default", "legacy"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_gives_the_same_path_or_is_refused_where_it_leads_astray(
    template: str, escape: Escape
) -> None:
    storage = Storage(root="/homes", template=template, escape=escape)
    for user, server in product(USERS, SERVERS):
        # The slash behind a default server's home says nothing.
        theirs = as_dockerspawner(template, user, server, escape).removesuffix("/")
        if is_a_path(theirs):
            assert path_below(storage, user=user, server=server) == theirs
        else:
            with pytest.raises(HomeRefused):
                path_below(storage, user=user, server=server)


@pytest.mark.parametrize("name", ["prefix", "imagename"])
def test_what_is_the_same_for_everybody_is_to_be_written_out(name: str) -> None:
    storage = Storage(root="/homes", template=f"{{{name}}}-{{username}}")

    with pytest.raises(HomeRefused, match="write it out") as refused:
        path_below(storage, user="ann", server="")

    written = as_dockerspawner("{prefix}", "ann", "", "default")
    assert refused.value.reason == "home_template"
    assert written == "jupyter"
