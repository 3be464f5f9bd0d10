"""Runs in a container: owns the network of one notebook and plays its hub on loopback."""

from __future__ import annotations

import http.server
import sys

sys.path.insert(0, "/greenroom")
from rehearsal import StubHub

hub = http.server.ThreadingHTTPServer(("127.0.0.1", 8081), StubHub)
hub.serve_forever()
