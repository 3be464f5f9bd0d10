from __future__ import annotations

import socket
from pathlib import Path

from scripts.stack import ports
from scripts.stack.places import Place


def test_a_port_is_remembered(tmp_path: Path) -> None:
    place = Place(directory=tmp_path)

    assert ports.port_for(place, "redis") == ports.port_for(place, "redis")


def test_two_names_get_two_ports(tmp_path: Path) -> None:
    place = Place(directory=tmp_path)

    assert ports.port_for(place, "redis") != ports.port_for(place, "postgres")


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert not ports.is_free(port)
        assert ports.answers(port)
