"""Notebooks that become their person, on a real engine, in homes that are closed to root."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from controlplane.messages import ActivateNotebook, RunActivated, RunRefused, WarmupReady
from controlplane.model.identity import Identity
from controlplane.model.pool import Storage
from controlplane.seal import Contents, Seal
from tests.agent.peoples import Somebody, facts, open_root, squash
from tests.agent.theatre import Theatre, environment_of

pytestmark = pytest.mark.engine

PEOPLE = (
    Somebody(name="ann", uid=2001, gid=3001),
    Somebody(name="bert@site.org", uid=2002, gid=3002),
    # The number of the image's own user.
    Somebody(name="cleo", uid=1000, gid=4000),
)
NO_RIGHT = os.strerror(1)
ONLY_THESE = 1 << 6 | 1 << 7


async def warm(theatre: Theatre, **spec: Any) -> str:
    order = theatre.create_order(spec=theatre.spec(run_as="user", **spec))
    await theatre.take(order)
    await theatre.reported.wait(WarmupReady, fits=lambda r: r.notebook == order.notebook)
    return order.notebook


def order(
    theatre: Theatre,
    notebook: str,
    user: str,
    *,
    server: str = "",
    identity: Identity | None = None,
    **environment: str,
) -> ActivateNotebook:
    lease = {
        "lease": str(uuid4()),
        "hub": "hub1",
        "user": user,
        "server": server,
        "prefix": "/user/x/",
    }
    told = {**environment_of("x", "/user/x/", theatre.hub.url), **environment}
    expires_at = datetime.now(UTC) + timedelta(minutes=10)
    contents = Contents.model_validate(
        {**lease, "expires_at": expires_at, "environment": told, "identity": identity}
    )
    sealed = Seal([theatre.key]).close(contents)
    return theatre.activate_order(notebook, **lease, sealed=sealed)


async def activated(theatre: Theatre, command: ActivateNotebook) -> RunActivated:
    await theatre.take(command)
    return await theatre.reported.wait(RunActivated, fits=lambda r: r.lease == command.lease)


async def processes(theatre: Theatre, notebook: str) -> list[dict[str, list[str]]]:
    """The kernel's word for every process of this notebook's container."""
    container = await theatre.peek.containers.get(theatre.container_name(notebook))
    listed = await container.top(ps_args="-eo pid")
    return [status(pid) for (pid,) in listed["Processes"]]


def status(pid: str) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(process: dict[str, list[str]]) -> dict[str, int]:
    return {name: int(value[0], 16) for name, value in process.items() if name.startswith("Cap")}


async def test_homes_of_three_people_that_root_cannot_enter(
    theatre: Theatre, tmp_path: Path
) -> None:
    open_root(theatre.homes)
    # Cleo's is a named server's, below a directory that only she may enter.
    paths = {"ann": "ann", "bert@site.org": "bert-40site-2eorg", "cleo": "cleo/big-20gpu"}
    homes = {each.name: each.make_home(theatre.homes, paths[each.name]) for each in PEOPLE}
    storage = Storage(root=str(theatre.homes), template="{username}/{servername}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "set.csv").write_text("1,2,3")
    data = {"source": str(tmp_path / "data"), "target": "/data"}
    more = {"storage": storage, "scratch_mib": 8, "mounts": [data]}
    warmed = [await warm(theatre, **more) for _ in PEOPLE]
    waiting = [await processes(theatre, notebook) for notebook in warmed]
    squash(theatre)

    for person, notebook in zip(PEOPLE, warmed, strict=True):
        said = Identity(uid=person.uid, gid=person.gid, groups=(5001, 5002), name="ann")
        told = {"identity": said} if person.name == "ann" else {}
        server = {"server": "Big GPU"} if person.name == "cleo" else {}
        await activated(theatre, order(theatre, notebook, person.name, **told, **server))
    serving = [await processes(theatre, notebook) for notebook in warmed]
    seen = {person.name: facts(homes[person.name]) for person in PEOPLE}

    for process in (each for group in waiting for each in group):
        have = capabilities(process)
        assert {have.pop("CapPrm"), have.pop("CapEff")} == {ONLY_THESE}
        assert set(have.values()) == {0}
        assert process["NoNewPrivs"] == ["1"]
    for person, group in zip(PEOPLE, serving, strict=True):
        for process in group:
            assert set(process["Uid"]) == {str(person.uid)}
            assert set(process["Gid"]) == {str(person.gid)}
            assert set(capabilities(process).values()) == {0}
            assert process["NoNewPrivs"] == ["1"]
    for person in PEOPLE:
        check_inside(person, seen[person.name])
    assert seen["ann"]["id"] == (
        "uid=2001(ann) gid=3001(ann) groups=3001(ann),5001(g5001),5002(g5002)"
    )
    assert seen["bert@site.org"]["ids"][2] == []
    assert [seen[each.name]["whoami"] for each in PEOPLE] == [each.name for each in PEOPLE]


def check_inside(person: Somebody, seen: dict[str, Any]) -> None:
    """What everybody's own code finds, whoever they are."""
    home = "/home/jovyan"
    assert seen["ids"][:2] == [[person.uid] * 3, [person.gid] * 3]
    for process in seen["processes"]:
        assert set(process["Uid"]) == {str(person.uid)}
        assert set(capabilities(process).values()) == {0}
    assert set(seen["back"].values()) == {NO_RIGHT, os.strerror(13), ""}
    assert [*seen["back"].values()].count(NO_RIGHT) == 6
    assert (seen["cwd"], seen["umask"]) == (home, "0o22")
    assert seen["entry"] == [person.name, home, "/bin/bash"]
    assert seen["made"] == [[person.uid, person.gid]] * 3
    assert seen["data"] == ["1,2,3", os.strerror(30)]
    assert seen["scratch"] == 8 * 1024 * 1024
    assert {"nosuid", "nodev"} <= set(seen["mount"])
    assert seen["terminal"][1:] == [person.name, str(person.uid), home, home]
    assert seen["terminal"][0].startswith("/dev/pts/")
    assert seen["streams"] == ["succeeded: None"] * 2
    assert seen["own environ"] == "succeeded: True"
    assert seen["ours"] == []
    environment = seen["environment"]
    assert {environment[name] for name in ("USER", "LOGNAME", "NB_USER")} == {person.name}
    assert [environment["NB_UID"], environment["NB_GID"]] == [str(person.uid), str(person.gid)]
    assert environment["HOME"] == home
    # The image's own entry point ran, and its hooks.
    assert environment["GREENROOM_DEMO_HOOK"] == "before-notebook"
    assert environment["JUPYTER_RUNTIME_DIR"] == "/tmp/jupyter-runtime"


async def test_a_signal_reaches_the_persons_server_and_its_code_comes_back(
    theatre: Theatre,
) -> None:
    open_root(theatre.homes)
    ann = PEOPLE[0]
    home = ann.make_home(theatre.homes)
    config = home / ".jupyter" / "jupyter_server_config.py"
    config.write_text(
        "import atexit, pathlib\natexit.register(pathlib.Path('over').write_text, 'x')"
    )
    notebook = await warm(theatre)
    await activated(theatre, order(theatre, notebook, "ann", NB_UID="2001", NB_USER="ann"))

    await theatre.engine.stop(theatre.container_name(notebook), seconds=60)
    seen = await theatre.engine.inspect(theatre.container_name(notebook))

    assert seen is not None
    assert seen.exit_code == 0
    assert (home / "over").read_text() == "x"


async def test_somebody_elses_home_is_refused_before_anything_runs(theatre: Theatre) -> None:
    open_root(theatre.homes)
    PEOPLE[1].make_home(theatre.homes, "ann")
    notebook = await warm(theatre)
    command = order(theatre, notebook, "ann", identity=Identity(uid=2001, gid=3001))

    await theatre.take(command)
    refused = await theatre.reported.wait(RunRefused)
    still = await processes(theatre, notebook)

    assert (refused.reason, refused.terminal) == ("identity_mismatch", True)
    assert "uid 2001" in refused.detail
    assert "uid 2002" in refused.detail
    assert {tuple(process["Uid"]) for process in still} == {("0",) * 4}
    assert not theatre.agent.node.slots.has_home(notebook)
    assert not (theatre.homes / "ann" / "facts.json").exists()
