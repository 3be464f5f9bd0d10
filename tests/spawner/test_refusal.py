"""CI runs this with both JupyterHubs: each gets the error that it knows how to count."""

from __future__ import annotations

import jupyterhub
import jupyterhub.spawner
from tornado.web import HTTPError

from controlplane.spawner.refusal import refusal


def test_a_refusal_is_the_hub_s_own_kind_where_it_has_one_and_else_an_http_error() -> None:
    error = refusal("the pool is dry", reason="capacity", status=503, retry_after=30)

    if jupyterhub.version_info >= (6,):
        assert isinstance(error, jupyterhub.spawner.SpawnException)
        assert error.reason == "capacity"
    else:
        assert type(error) is HTTPError
    assert error.status_code == 503
    assert error.jupyterhub_message == "the pool is dry"
    assert error.headers == {"Retry-After": "30"}


def test_who_is_not_to_come_back_is_not_told_when() -> None:
    error = refusal("this pool is for other groups", reason="groups")

    assert error.status_code == 400
    assert "Retry-After" not in (getattr(error, "headers", None) or {})
