"""Where a spawner finds the door of its hub process: settings, the hub's id, one door."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.utils import url_path_join

from controlplane import failpoints, settings, telemetry
from controlplane.errors import BadSettings
from controlplane.spawner import comes_from, hub_url, identity
from controlplane.spawner.door import Door
from controlplane.spawner.road import Address

_doors: dict[Address, Door] = {}


@cache
def defaults() -> settings.Settings:
    """What `GREENROOM_*` says, for traits that the hub's configuration leaves out."""
    return settings.load()


@cache
def _arm() -> None:
    failpoints.arm(os.environ)


def door_of(spawner: Any) -> Door:
    """The door of this hub process; opened by the first spawner that is made.

    With bad settings: one that stays shut, so that the hub starts all the same.
    """
    try:
        _arm()
        address = _address(spawner)
    except BadSettings as error:
        spawner.log.error("Greenroom's settings: %s", error)
        nowhere = Address(amqp_url="", installation="", hub="", api_url="")
        return Door(nowhere, log=spawner.log, trouble=str(error))
    if address not in _doors:
        if hub_url.is_loopback(address.api_url):
            spawner.log.error(hub_url.advice(address.api_url))
        # What our client logs goes where the hub's own lines go.
        telemetry.configure_in_hub(spawner.log)
        door = Door(address, log=spawner.log)
        door.keep_seconds = spawner.keep_place_seconds
        door.open()
        _doors[address] = door
    return _doors[address]


def api_url(spawner: Any) -> str:
    """The hub's API URL as the stock `get_env` would tell it to a notebook."""
    url: str = spawner.hub.api_url
    if spawner.hub_connect_url is not None:
        url = url_path_join(spawner.hub_connect_url, urlsplit(url).path)
    if not url.startswith(("http://", "https://")):
        raise BadSettings(
            f"the hub's API is at {url}, and notebooks on other machines need an http URL: put "
            "c.JupyterHub.hub_connect_url into jupyterhub_config.py"
        )
    return url


def _address(spawner: Any) -> Address:
    return Address(
        amqp_url=spawner.amqp_url,
        installation=spawner.installation,
        hub=_hub_id(spawner.hub_id),
        api_url=api_url(spawner),
        proxy=comes_from.proxy_of(_app()),
    )


def _hub_id(given: str) -> str:
    if given:
        return identity.checked_hub_id(given, "the hub's configuration")
    return identity.hub_id(_data_directory())


def _data_directory() -> Path:
    """Where the hub keeps its cookie secret: it must keep that as long as this."""
    app = _app()
    return Path(app.cookie_secret_file).resolve().parent if app is not None else Path.cwd()


def _app() -> Any:
    """The hub itself, None where there is none."""
    # The app imports the spawners' entry points, so it cannot be imported with us.
    from jupyterhub.app import JupyterHub

    return JupyterHub.instance() if JupyterHub.initialized() else None
