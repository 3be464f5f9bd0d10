"""What commands share in words: options, and the error of a thing that is not there."""

from __future__ import annotations

from typing import Annotated

import typer

from controlplane.cli.out import Shape
from controlplane.errors import Refused

Output = Annotated[
    Shape, typer.Option("--output", "-o", help="table for people, json for programs")
]


class NotFound(Refused):
    """There is no such thing."""
