"""Images are examined in a container of the demo image, changed by its pool's environment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.clients.docker import Docker
from controlplane.doctor import image as images
from controlplane.doctor.finding import Finding, Level
from controlplane.doctor.trials import Trials, folder
from controlplane.model import ContainerSpec
from tests.agent.conftest import engine

__all__ = ["engine"]

pytestmark = pytest.mark.engine
SECONDS = 600
SLOW = """
import time
begun = time.process_time()
while time.process_time() - begun < 0.8:
    pass
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with folder() as place:
        yield place


@pytest.fixture
async def trials(engine: Docker, installation: str, place: Path) -> AsyncIterator[Trials]:
    async with asyncio.timeout(SECONDS):
        yield Trials(engine, installation=installation, folder=place)


def extended(place: Path, extensions: dict[str, str]) -> dict[str, str]:
    """Put these server extensions where the image's Python and Jupyter look for them."""
    package = place / "package"
    for name, text in extensions.items():
        (package / f"{name}.py").write_text(text)
        (package / f"{name}.py").chmod(0o644)
    settings = package / "jupyter_server_config.d"
    settings.mkdir(mode=0o755)
    enabled = {"ServerApp": {"jpserver_extensions": dict.fromkeys(extensions, True)}}
    (settings / "of_test.json").write_text(json.dumps(enabled))
    (settings / "of_test.json").chmod(0o644)
    return {"JUPYTER_CONFIG_PATH": "/greenroom"}


def about(found: list[Finding], name: str) -> Finding:
    (one,) = [each for each in found if name in each.check]
    return one


async def test_a_slow_and_a_broken_extension_are_named(
    trials: Trials, image: str, place: Path
) -> None:
    environment = extended(place, {"sleepy_one": SLOW, "broken_one": "import no_such_thing"})

    found = await images.look(trials, ContainerSpec(image=image, environment=environment))

    slow, broken = about(found, "sleepy_one"), about(found, "broken_one")
    assert (slow.level, broken.level) == (Level.WARN, Level.WARN)
    assert "disable --sys-prefix sleepy_one" in slow.fix
    assert "no_such_thing" in broken.seen


async def test_an_image_without_jupyter_is_told_what_to_add(trials: Trials, image: str) -> None:
    bare = ContainerSpec(image=image, environment={"PATH": "/usr/local/bin:/usr/bin:/bin"})

    (found,) = await images.look(trials, bare)

    assert found.level is Level.FAIL
    assert "no jupyterhub-singleuser" in found.seen
    assert "pip install" in found.fix
