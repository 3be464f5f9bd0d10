"""Phases and legal moves: the one table that code, Postgres and documents are held to."""

from __future__ import annotations

from enum import StrEnum


class NotebookPhase(StrEnum):
    """Where a notebook is, from create to gone. Only forward."""

    CREATING = "creating"
    WARMING = "warming"
    READY = "ready"
    LEASED = "leased"
    RETIRING = "retiring"
    GONE = "gone"
    FAILED = "failed"
    LOST = "lost"


class LeasePhase(StrEnum):
    """Where a lease is. The one move back is claimed to waiting, with the next attempt."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    SERVING = "serving"
    ENDED = "ended"


class NodeState(StrEnum):
    """What liveness believes of a node. Only `ready` is offered."""

    READY = "ready"
    CORDONED = "cordoned"
    DRAINING = "draining"
    SUSPECT = "suspect"
    LOST = "lost"


class EndReason(StrEnum):
    """Why a lease ended. Closed: a new reason is a new line here and in the migration."""

    STOPPED = "stopped"  # the hub's stop(), or a cull through the hub
    CANCELLED = "cancelled"  # start() was cancelled or timed out at the hub
    SUPERSEDED = "superseded"  # a newer lease of the same (hub, user, server)
    EXPIRED = "expired"  # its budget ran out before it served
    ATTEMPTS = "attempts"  # three notebooks failed it
    DIED = "died"  # its notebook's process ended
    REFUSED = "refused"  # the request can never be granted
    QUOTA = "quota"  # a limit of its user or group is reached; it may be granted later
    HUB_FORGOT = "hub_forgot"  # two complete inventories of its hub left it out
    NODE_LOST = "node_lost"
    ADMIN = "admin"


_N, _L, _S = NotebookPhase, LeasePhase, NodeState

NOTEBOOK_MOVES: dict[NotebookPhase, frozenset[NotebookPhase]] = {
    _N.CREATING: frozenset({_N.WARMING, _N.READY, _N.RETIRING, _N.GONE, _N.FAILED, _N.LOST}),
    _N.WARMING: frozenset({_N.READY, _N.RETIRING, _N.GONE, _N.FAILED, _N.LOST}),
    _N.READY: frozenset({_N.LEASED, _N.RETIRING, _N.GONE, _N.FAILED, _N.LOST}),
    _N.LEASED: frozenset({_N.RETIRING, _N.GONE, _N.LOST}),
    _N.RETIRING: frozenset({_N.GONE, _N.LOST}),
    # A failed container still has to be removed from its node; a lost one may come back.
    _N.FAILED: frozenset({_N.RETIRING, _N.GONE, _N.LOST}),
    _N.LOST: frozenset({_N.RETIRING, _N.GONE}),
    _N.GONE: frozenset(),
}

LEASE_MOVES: dict[LeasePhase, frozenset[LeasePhase]] = {
    _L.WAITING: frozenset({_L.CLAIMED, _L.ENDED}),
    _L.CLAIMED: frozenset({_L.WAITING, _L.SERVING, _L.ENDED}),
    _L.SERVING: frozenset({_L.ENDED}),
    _L.ENDED: frozenset(),
}

NODE_MOVES: dict[NodeState, frozenset[NodeState]] = {
    _S.READY: frozenset({_S.CORDONED, _S.DRAINING, _S.SUSPECT, _S.LOST}),
    _S.CORDONED: frozenset({_S.READY, _S.DRAINING, _S.SUSPECT, _S.LOST}),
    _S.DRAINING: frozenset({_S.READY, _S.CORDONED, _S.SUSPECT, _S.LOST}),
    _S.SUSPECT: frozenset({_S.READY, _S.CORDONED, _S.DRAINING, _S.LOST}),
    _S.LOST: frozenset({_S.READY, _S.CORDONED, _S.DRAINING}),
}

MAX_ATTEMPTS = 3
