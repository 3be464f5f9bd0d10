"""One whole Greenroom for all end-to-end tests: three warm notebooks, room for eight.

house    the running installation; a test that breaks it mends it before it ends
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from scripts.stack import down
from scripts.stack.services import Urls
from tests import conftest as given
from tests.e2e.house import House, prepare

WARM, MAXIMUM = 3, 8


@pytest.fixture(scope="session")
def house(
    tmp_path_factory: pytest.TempPathFactory,
    amqp_url: str,
    docker_host: str,
    image: str,
    redis_database: str,
) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("house")
    server = given.given(given.POSTGRES)
    name = f"greenroom_e2e_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True, connect_timeout=10) as postgres:
        postgres.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    urls = Urls(amqp=amqp_url, postgres=database, redis=redis_database)
    house = prepare(Path(directory), urls=urls, docker_host=docker_host, warm=WARM, maximum=MAXIMUM)
    try:
        house.start_all()
        yield house
    finally:
        house.stop_all()
        down.remove_containers(house.stack.place)
        with psycopg.connect(server, autocommit=True, connect_timeout=10) as postgres:
            postgres.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
