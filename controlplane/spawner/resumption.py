"""What a later start() needs to take up a lease: kept in the hub's own row of the server.

The notebook of a lease knows the API token that its first start() was given. Whoever takes
the lease up has to be that token's owner, also in a hub process that never saw it: so it is
kept sealed, with the key that seals environments.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """One lease, what was chosen when it was asked for, and its token."""

    lease: str
    choice: str
    token: str = field(repr=False)

    def state(self, keys: Sequence[str]) -> dict[str, str]:
        """For the hub's database: the token is sealed."""
        sealed = _fernet(keys).encrypt(self.token.encode()).decode()
        return {"lease": self.lease, "choice": self.choice, "token": sealed}

    @classmethod
    def of(cls, state: Mapping[str, Any], keys: Sequence[str]) -> Resumption | None:
        """What `state` said; None when it says nothing that these keys open."""
        lease, choice, sealed = (state.get(name) for name in ("lease", "choice", "token"))
        if not (isinstance(lease, str) and isinstance(choice, str) and isinstance(sealed, str)):
            return None
        try:
            token = _fernet(keys).decrypt(sealed.encode()).decode()
        except (InvalidToken, ValueError):
            return None
        return cls(lease=lease, choice=choice, token=token)


def choice(pool: str, prefix: str, options: Any) -> str:
    """The same for two starts that want the same: a place in line is not moved to another."""
    wanted = json.dumps([pool, prefix, options], sort_keys=True, default=repr)
    return hashlib.sha256(wanted.encode()).hexdigest()[:32]


def _fernet(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
