"""Tables, functions and queries: plain SQL. `clients/postgres` calls them."""

from __future__ import annotations
