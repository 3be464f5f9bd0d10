"""One Greenroom on two nodes for all tests here.

street    the running installation; a test that breaks it mends it before it ends
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.stack.places import TEST, Place
from scripts.stack.services import Urls
from tests.nodes.street import Street, build, tear_down

# Not pytest's directory: the next run has to find what a killed one left.
RUNS = TEST.directory / "nodes"


@pytest.fixture(scope="module")
def street(
    amqp_url: str, postgres_url: str, redis_database: str, docker_host: str, image: str
) -> Iterator[Street]:
    _possible()
    urls = Urls(amqp=amqp_url, postgres=postgres_url, redis=redis_database)
    with _alone():
        place = Place(directory=RUNS / f"run-{secrets.token_hex(3)}").make()
        try:
            street = build(place, urls=urls, docker_host=docker_host, tag=image)
            street.apply_pool(maximum=2)
            street.start_all()
            yield street
        finally:
            tear_down(place)


def _possible() -> None:
    """Engines and namespaces of our own need root and programs: as with every other address."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in ("dockerd", "ip", "nsenter") if not shutil.which(name, path=path)]
    why = "need root" if os.geteuid() != 0 else f"need {', '.join(missing)}" if missing else ""
    if why and os.environ.get("CI"):
        pytest.fail(f"two nodes on one machine {why}, and CI skips nothing")
    if why:
        pytest.skip(f"two nodes on one machine {why}")


@contextmanager
def _alone() -> Iterator[None]:
    """One run at a time in a checkout; what a killed one left goes first."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with Path(RUNS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in RUNS.glob("run-*"):
            tear_down(Place(directory=left))
        yield
