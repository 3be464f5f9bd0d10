"""Reads, at warm time, the certificate store that JupyterLab reads at every start.

That is a quarter of an activation's CPU, and needs no identity: the store is a file of the image.
The first one who asks for exactly that store gets it; who asks for another gets what it asked for.
Standard library only.
"""

from __future__ import annotations

import os
import ssl
import sys

# Either one changes what a context is made of.
READ_BY_SSL = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "OPENSSL_CONF")


class Store:
    """One unused context, and how the world was when it was made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.world = self.look()
        self.context = ssl.create_default_context(cafile=path)
        self.stock = None

    def look(self) -> tuple:
        file = os.stat(self.path)
        return (file.st_ino, file.st_mtime_ns, *map(os.environ.get, READ_BY_SSL))

    def offer(self) -> None:
        """Stand in for `ssl.create_default_context` until the first fitting question."""
        self.stock = stock = ssl.create_default_context

        def create_default_context(
            purpose=ssl.Purpose.SERVER_AUTH, *, cafile=None, capath=None, cadata=None
        ):
            asked = (purpose, cafile, capath, cadata)
            if asked == (ssl.Purpose.SERVER_AUTH, self.path, None, None):
                self.withdraw()
                if self.look() == self.world:
                    return self.context
            return stock(purpose, cafile=cafile, capath=capath, cadata=cadata)

        ssl.create_default_context = create_default_context

    def withdraw(self) -> None:
        if self.stock is not None:
            ssl.create_default_context, self.stock = self.stock, None


def read_ahead() -> list[Store]:
    """The store of the preloaded HTTP client; none where nothing would ask for it."""
    certifi = sys.modules.get("certifi")
    if certifi is None or "httpx" not in sys.modules:
        return []
    return [Store(certifi.where())]
