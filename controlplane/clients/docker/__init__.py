"""The Docker engine of one node. Only this package imports aiodocker.

answers  from its JSON to those values
engine   what an agent asks of an engine, and what it answers: a protocol and values
client   the same on aiodocker, with a timeout on every call and errors translated
"""

from __future__ import annotations

from controlplane.clients.docker.client import Docker
from controlplane.clients.docker.engine import Engine, Facts, Happening, Image, Listed, Seen

__all__ = ["Docker", "Engine", "Facts", "Happening", "Image", "Listed", "Seen"]
