"""A fake library that goes on without a hub, for ever, if it cannot have one at import."""

from __future__ import annotations

try:
    import jupyterhub.services.auth  # noqa: F401

    HAS_HUB = True
except ImportError:
    HAS_HUB = False
