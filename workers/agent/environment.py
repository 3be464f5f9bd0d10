"""The environment that a notebook gets: what the hub sealed, with the container's own facts."""

from __future__ import annotations

from workers.agent.recipe import PORT


def for_container(sealed: dict[str, str], *, prefix: str) -> dict[str, str]:
    """The hub cannot know on which address and port the server listens inside."""
    return {**sealed, "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{PORT}{prefix}"}
