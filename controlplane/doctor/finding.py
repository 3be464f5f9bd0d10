"""One line of the doctor's report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import StrEnum

from controlplane.errors import GreenroomError


class Level(StrEnum):
    """How bad it is: `fail` means that people will not get notebooks, or not safe ones."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check came to. `fix` is what to type or write; empty when all is well."""

    check: str
    level: Level
    seen: str
    fix: str = ""


def ok(check: str, seen: str) -> Finding:
    """All is well."""
    return Finding(check=check, level=Level.OK, seen=seen)


def warn(check: str, seen: str, *, fix: str) -> Finding:
    """It works, slower or with a promise less."""
    return Finding(check=check, level=Level.WARN, seen=seen, fix=fix)


def fail(check: str, seen: str, *, fix: str) -> Finding:
    """It does not work."""
    return Finding(check=check, level=Level.FAIL, seen=seen, fix=fix)


async def answered(
    check: str, look: Awaitable[list[Finding]], *, seconds: float, fix: str
) -> list[Finding]:
    """What this look found; what does not answer, or is refused, is a finding too."""
    try:
        async with asyncio.timeout(seconds):
            return await look
    except TimeoutError:
        return [fail(check, f"no answer in {seconds:g} s", fix=fix)]
    except GreenroomError as error:
        return [fail(check, _one_line(str(error)), fix=fix)]
    except OSError as error:
        named = f": {error.filename}" if error.filename else ""
        return [fail(check, f"{error.strerror or type(error).__name__}{named}", fix=fix)]


def _one_line(text: str, longest: int = 400) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[:longest]} ..."
