from __future__ import annotations

import base64
from pathlib import Path

import pytest

from controlplane import poolsfile
from scripts.stack import demo, image, venv
from scripts.stack.demo import Demo
from scripts.stack.places import Place
from scripts.stack.services import Urls


@pytest.fixture
def stack(tmp_path: Path) -> Demo:
    urls = Urls(
        amqp="amqp://u:hidden@h/", postgres="postgresql://u:hidden@h/d", redis="redis://:hidden@h/0"
    )
    return Demo(
        place=Place(directory=tmp_path).make(),
        urls=urls,
        docker_host="unix:///nowhere",
        gateway="10.0.0.1",
    )


def test_the_pool_is_sized_and_its_homes_are_below_the_stack(stack: Demo, tmp_path: Path) -> None:
    path = demo.pools_file(stack, warm=5, maximum=9)

    (pool,) = poolsfile.load(path).pools
    assert (pool.warm, pool.maximum) == (5, 9)
    assert pool.container.image == image.TAG
    assert pool.container.storage is not None
    assert pool.container.storage.root == str(tmp_path / "homes")
    assert (tmp_path / "homes").is_dir()


def test_a_secret_is_made_once_is_a_fernet_key_and_is_ours_alone(
    stack: Demo, tmp_path: Path
) -> None:
    made = demo.secret(stack.place, "seal-key")

    assert demo.secret(stack.place, "seal-key") == made
    assert len(base64.urlsafe_b64decode(made)) == 32
    assert (tmp_path / "seal-key").stat().st_mode & 0o077 == 0


def test_two_checkouts_have_two_installations(stack: Demo, tmp_path: Path) -> None:
    assert demo.installation(Place(directory=tmp_path / "b")) != stack.installation


def test_passwords_never_print(stack: Demo) -> None:
    assert "hidden" not in repr(stack)


def test_the_hub_listens_where_containers_reach_it(stack: Demo) -> None:
    hub = next(program for program in stack.programs() if program.name == demo.HUB)

    assert hub.environment["DEMO_HUB_URL"].startswith("http://10.0.0.1:")


def test_a_virtual_environment_is_stale_when_its_ingredients_change(tmp_path: Path) -> None:
    made = venv.Environment(directory=tmp_path, wanted=("a",))
    (tmp_path / "greenroom-ingredients").write_text(made.ingredients)

    assert made.current
    assert not venv.Environment(directory=tmp_path, wanted=("a", "b")).current
