"""The seal: a user's environment on its way from the hub to one agent.

Fernet with key rotation: the first key seals, all of them open. What is inside names the
lease that it was made for, so a seal that is moved to another command is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from controlplane.errors import BadSettings, Refused
from controlplane.messages.commands import ActivateNotebook
from controlplane.model.identity import Identity


class Contents(BaseModel):
    """What is inside. `identity` is the hub's word for pools with `run_as = "user"`."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
    lease: str
    hub: str
    user: str
    server: str
    prefix: str
    expires_at: datetime
    environment: dict[str, SecretStr] = Field(repr=False)
    arguments: tuple[str, ...] = ()
    identity: Identity | None = None

    def plain(self) -> dict[str, str]:
        """The environment in clear: for the notebook's socket and nothing else."""
        return {name: value.get_secret_value() for name, value in self.environment.items()}


class Seal:
    """Seals and opens with the given Fernet keys (URL-safe base64, 32 bytes each)."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise BadSettings("seal_keys is empty: run `greenroom keys new` and put the key there")
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise BadSettings(
                "seal_keys: a key is not 32 bytes in URL-safe base64: run `greenroom keys new`"
            ) from None

    def __repr__(self) -> str:
        return "Seal(...)"

    def close(self, contents: Contents) -> str:
        """The sealed text, safe to travel and to be kept for a while."""
        body = contents.model_dump(mode="json") | {"environment": contents.plain()}
        return self._fernet.encrypt(json.dumps(body).encode()).decode()

    def open(self, command: ActivateNotebook, now: datetime) -> Contents:
        """What is inside, if it was sealed for exactly this command; else `Refused`."""
        try:
            contents = Contents.model_validate_json(self._fernet.decrypt(command.sealed.encode()))
        except (InvalidToken, ValidationError):
            raise Refused("the seal cannot be opened with this node's seal_keys") from None
        for name in ("lease", "hub", "user", "server", "prefix"):
            if getattr(contents, name) != getattr(command, name):
                raise Refused(f"the seal was made for another {name}")
        if contents.expires_at <= now:
            raise Refused("the seal has expired")
        return contents
