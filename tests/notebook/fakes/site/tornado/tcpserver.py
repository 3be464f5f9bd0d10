"""A fake."""

from __future__ import annotations


class TCPServer:
    def add_sockets(self, sockets):
        """The fake server opens no port."""
