from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from controlplane.model import ContainerSpec, Mount, PoolSpec, Resources, Storage

IMAGE = ContainerSpec(image="lab:1")


def test_the_target_is_in_total_or_per_node() -> None:
    assert PoolSpec(name="lab", container=IMAGE, warm=7).target(nodes=3) == 7
    assert PoolSpec(name="lab", container=IMAGE, warm_per_node=2).target(nodes=3) == 6


@pytest.mark.parametrize("targets", [{}, {"warm": 1, "warm_per_node": 1}])
def test_exactly_one_target_is_given(targets: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        PoolSpec.model_validate({"name": "lab", "container": IMAGE, **targets})


@pytest.mark.parametrize("name", ["", "Lab", "-lab", "lab-", "a.b", "a b", "a" * 41, "lab\n", "é"])
def test_a_pool_name_that_cannot_be_a_routing_key_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        PoolSpec(name=name, container=IMAGE, warm=1)


@pytest.mark.parametrize(
    "other",
    [
        {"image": "lab:2"},
        {"command": ("start.sh",)},
        {"resources": Resources(memory_mib=2048)},
        {"resources": Resources(cpus=1)},
        {"resources": Resources(pids=100)},
        {"storage": Storage(root="/srv/homes")},
        {"storage": Storage(root="/srv/homes", backup="/srv/copy")},
        {"scratch_mib": 1},
        {"mounts": (Mount(source="/data", target="/data"),)},
        {"environment": {"TZ": "UTC"}},
    ],
)
def test_everything_that_shapes_a_container_is_in_its_hash(other: dict[str, object]) -> None:
    assert IMAGE.model_copy(update=other).hash() != IMAGE.hash()


@settings(derandomize=True, max_examples=50, deadline=None, database=None)
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_the_hash_survives_the_way_through_json(environment: dict[str, str]) -> None:
    spec = ContainerSpec(image="lab:1", environment=environment)

    assert ContainerSpec.model_validate_json(spec.model_dump_json()).hash() == spec.hash()


@pytest.mark.parametrize(
    ("changes", "read_only", "create_missing"),
    [
        ({}, True, False),
        ({"create_missing": True}, True, False),
        ({"backup_access": "rw"}, False, False),
        ({"backup_access": "rw", "create_missing": True}, False, True),
        ({"backup_access": "rw", "read_only": True}, True, False),
    ],
)
def test_a_backup_is_read_only_and_nothing_is_made_in_it_unless_it_says_otherwise(
    changes: dict[str, object], read_only: bool, create_missing: bool
) -> None:
    given = {"root": "/srv/homes", "backup": "/srv/copy", "template": "a/{username}"}
    storage = Storage.model_validate({**given, **changes}).at_backup()

    assert (storage.root, storage.backup, storage.template) == ("/srv/copy", None, "a/{username}")
    assert (storage.read_only, storage.create_missing) == (read_only, create_missing)


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ContainerSpec.model_validate({"image": "lab:1", "gpus": 1})
