"""The hub's API URL as notebooks will use it: on other machines a loopback URL reaches nobody."""

from __future__ import annotations

import socket

from controlplane.model.addresses import is_loopback

__all__ = ["advice", "is_loopback"]


def advice(url: str) -> str:
    """Why this loopback URL is refused, and the line that cures it."""
    return (
        f"Notebooks run in containers on other machines, and the hub told them to reach it at "
        f"{url}, which is a loopback address. Put this line into jupyterhub_config.py and "
        f'restart the hub: c.JupyterHub.hub_ip = "{_own_address()}"  (if hub_bind_url or '
        f"hub_connect_url is set there: give it that address)"
    )


def _own_address() -> str:
    """The address this machine would use towards others. Nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            address: str = probe.getsockname()[0]
        except OSError:
            return "<this machine's address as the nodes see it>"
    return address
