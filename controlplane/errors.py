"""Every error of Greenroom, as one tree.

GreenroomError
├── Retry          try again: the same call may succeed later
│   ├── Unavailable    a service did not answer in time or refused the connection
│   └── Conflict       somebody else moved the row first; look again
└── Terminal       trying again cannot help
    ├── BadMessage     content that no version of us can handle: quarantine it
    ├── BadSettings    what an admin wrote does not fit: names key, value and fix
    ├── Unroutable     nobody has declared the queue that this message needs
    └── Refused        the other side understood and said no

The docstring of a class is its default message.
"""

from __future__ import annotations

import inspect


class GreenroomError(Exception):
    """Something went wrong in Greenroom."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


class Retry(GreenroomError):
    """This may succeed when it is tried again."""


class Terminal(GreenroomError):
    """Trying again cannot help."""


class Unavailable(Retry):
    """A service did not answer in time."""


class Conflict(Retry):
    """Somebody else moved the row first."""


class BadMessage(Terminal):
    """The message cannot be understood."""

    def __init__(self, message: str | None = None, *, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class BadSettings(Terminal):
    """A setting does not fit."""


class Unroutable(Terminal):
    """No queue takes this message."""


class Refused(Terminal):
    """The other side said no."""
