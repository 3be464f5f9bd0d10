"""From a specification to the engine's JSON: what every container gets, and what none does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane.clients.docker.engine import Image
from controlplane.errors import Refused
from controlplane.model.pool import ContainerSpec
from workers.agent import recipe
from workers.agent.ports import Ports

PLACE = recipe.Place(
    installation="greenroom",
    node="node1",
    address="10.0.0.5",
    network="greenroom-node1",
    package=Path("/opt/notebook"),
)
IMAGE = Image(id="sha256:abc", user="1000", directory="/home/jovyan", entry_point=("tini", "--"))
STATE = Path("/var/lib/greenroom/greenroom/node1")


def spec(**changes: Any) -> ContainerSpec:
    return ContainerSpec.model_validate({"image": "demo", **changes})


def made(**changes: Any) -> dict[str, Any]:
    notebook = recipe.Notebook(
        notebook="n1",
        pool="demo",
        revision=3,
        port=20_001,
        run=Path("/slots/n1/run"),
        home=Path("/slots/n1/home"),
    )
    return recipe.warm(PLACE, spec(**changes), IMAGE, notebook)


def test_every_container_is_hardened_and_limited() -> None:
    host = made(resources={"memory_mib": 512, "cpus": 1.5, "pids": 99})["HostConfig"]

    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] == 99
    assert host["Memory"] == host["MemorySwap"] == 512 * 1024 * 1024
    assert (host["CpuPeriod"], host["CpuQuota"]) == (100_000, 150_000)
    assert host["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "2"}
    assert host["RestartPolicy"] == {"Name": "no"}
    assert host["CpuShares"] == recipe.WARMING_SHARES


def test_no_container_gets_what_reaches_the_node() -> None:
    host = made(storage={"root": "/srv/homes"}, scratch_mib=64)["HostConfig"]

    absent = {"Privileged", "CapAdd", "Devices", "PidMode", "IpcMode", "UsernsMode", "Binds"}
    assert not absent & set(host)
    assert host["NetworkMode"] == PLACE.network


def test_only_a_notebook_that_becomes_its_person_begins_as_root_and_with_what_that_takes() -> None:
    config = made(storage={"root": "/srv/homes"}, run_as="user", environment={"A": "b"})
    host = config["HostConfig"]

    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("0:0", [*recipe.COMMAND], [])
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["SETUID", "SETGID", "SETPCAP"])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert [line for line in config["Env"] if not line.startswith("GREENROOM_NOTEBOOK=")] == [
        "A=b",
        "JUPYTER_IMAGE_SPEC=demo",
        'GREENROOM_FIRST={"entrypoint": ["tini", "--"], "user": "1000"}',
    ]
    assert "Entrypoint" not in made()
    assert "User" not in made()


@pytest.mark.parametrize("run_as", ["image", "user"])
def test_no_image_starts_a_check_of_its_own_in_somebodys_home(run_as: str) -> None:
    config = made(storage={"root": "/srv/homes"}, run_as=run_as)

    assert config["Healthcheck"] == {"Test": ["NONE"]}


def test_the_port_opens_on_the_nodes_address_only() -> None:
    bindings = made()["HostConfig"]["PortBindings"]

    assert bindings == {"8888/tcp": [{"HostIp": "10.0.0.5", "HostPort": "20001"}]}


def test_on_the_nodes_own_bridge_neighbours_do_not_reach_each_other() -> None:
    network = recipe.network(PLACE, "gr-0123456789a")

    assert network["Driver"] == "bridge"
    assert network["Options"] == {
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.name": "gr-0123456789a",
    }
    assert network["Labels"] == recipe.labels(PLACE)


def test_the_labels_say_whose_it_is_and_nothing_of_a_person() -> None:
    assert made()["Labels"] == {
        "greenroom.installation": "greenroom",
        "greenroom.node": "node1",
        "greenroom.notebook": "n1",
        "greenroom.pool": "demo",
        "greenroom.revision": "3",
    }


def test_a_pool_cannot_speak_for_greenroom_in_the_environment() -> None:
    environment = made(environment={"GREENROOM_NOTEBOOK": "other", "A": "b"})["Env"]

    assert sorted(environment) == ["A=b", "GREENROOM_NOTEBOOK=n1", "JUPYTER_IMAGE_SPEC=demo"]


def test_a_notebook_is_told_the_pools_name_of_its_image_as_dockerspawner_tells_it() -> None:
    told = made(image="lab:2026-03", environment={"JUPYTER_IMAGE_SPEC": "another"})["Env"]

    assert "JUPYTER_IMAGE_SPEC=lab:2026-03" in told
    assert "JUPYTER_IMAGE_SPEC=another" not in told


def test_a_home_is_a_slave_of_its_own_private_place() -> None:
    mounts = made(storage={"root": "/srv/homes"})["HostConfig"]["Mounts"]
    (home,) = (mount for mount in mounts if mount["Target"] == "/home/jovyan")

    assert home["Source"] == "/slots/n1/home"
    assert home["BindOptions"] == {"Propagation": "rslave"}


def test_datasets_are_read_only_and_scratch_is_limited() -> None:
    data = {"source": "/srv/data", "target": "/data"}
    mounts = made(mounts=[data], scratch_mib=8)["HostConfig"]["Mounts"]
    by_target = {mount["Target"]: mount for mount in mounts}

    assert by_target["/data"]["ReadOnly"] is True
    assert by_target["/scratch"]["TmpfsOptions"]["SizeBytes"] == 8 * 1024 * 1024


def test_a_rehearsal_has_no_network_home_port_or_notebooks_label() -> None:
    storage = {"root": "/srv/homes"}
    name, run = "rehearsal-1", Path("/slots/r/run")
    config = recipe.rehearsal(PLACE, spec(storage=storage), IMAGE, name=name, run=run)

    assert config["HostConfig"]["NetworkMode"] == "none"
    assert "PortBindings" not in config["HostConfig"]
    assert {m["Target"] for m in config["HostConfig"]["Mounts"]} == {"/greenroom", "/run/greenroom"}
    assert "greenroom.notebook" not in config["Labels"]
    assert config["Labels"]["greenroom.node"] == "node1"


@pytest.mark.parametrize(
    "source",
    ["/", "/etc", "/etc/ssl", "/proc", "/sys/kernel", "/dev", "/run", "/run/docker.sock",
     "/var/run/docker.sock", "/var", "/var/lib", "/var/lib/docker", "/var/lib/docker/volumes",
     "/root", "/srv/../etc", "/var/lib/greenroom", str(STATE / "journal")],
)  # fmt: skip
def test_what_is_the_nodes_own_is_never_bound(source: str) -> None:
    mounts = [{"source": source, "target": "/data"}]

    with pytest.raises(Refused, match=r"mounts "):
        recipe.check(spec(mounts=mounts), STATE)
    with pytest.raises(Refused, match=r"storage\.root "):
        recipe.check(spec(storage={"root": source}), STATE)
    with pytest.raises(Refused, match=r"storage\.backup "):
        recipe.check(spec(storage={"root": "/srv/homes", "backup": source}), STATE)


@pytest.mark.parametrize("source", ["/srv/data", "/home", "/mnt/nfs", "/var/lib/homes", "/root/h"])
def test_data_may_be_bound(source: str) -> None:
    recipe.check(spec(mounts=[{"source": source, "target": "/data"}]), STATE)


@pytest.mark.parametrize("target", ["/", "/run", "/run/greenroom", "/greenroom", "/greenroom/x"])
def test_nothing_covers_the_channel(target: str) -> None:
    with pytest.raises(Refused, match="covers"):
        recipe.check(spec(mounts=[{"source": "/srv/data", "target": target}]), STATE)


def test_another_command_than_the_stock_one_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="'bash'"):
        recipe.check(spec(command=["bash"]), STATE)

    with_options = spec(command=["jupyterhub-singleuser", "--debug"])
    recipe.check(with_options, STATE)
    assert recipe.arguments(with_options) == ("--debug",)


def test_a_port_goes_round_the_whole_range_before_it_is_used_again() -> None:
    ports = Ports(100, 104, start=103)
    ports.hold([101])

    first = ports.take()
    ports.give_back(first)
    rest = [ports.take() for _ in range(4)]

    assert first == 103
    assert rest == [104, 100, 102, 103]
    with pytest.raises(Refused, match="widen"):
        ports.take()
