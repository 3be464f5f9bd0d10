"""An image: has it Jupyter for a hub, and what does its import cost?"""

from __future__ import annotations

from typing import Any

from controlplane.doctor.finding import Finding, fail, ok, warn
from controlplane.doctor.trials import TrialFailed, Trials
from controlplane.model import ContainerSpec

# warm_start.py runs from here on.
OLDEST_PYTHON = (3, 9)
OLDEST_JUPYTERHUB = 4
# CPU, as a busy machine would blame the image for its own load. A stock JupyterLab takes 4.
SLOW_SECONDS = 8.0
SLOW_EXTENSION_SECONDS = 0.5


async def look(trials: Trials, spec: ContainerSpec) -> list[Finding]:
    """Examine it in a container without network."""
    check = f"image {spec.image}"
    if await trials.engine.image(spec.image) is None:
        return [fail(check, "it is not on this node", fix=f"docker pull {spec.image}")]
    try:
        return judge(spec.image, await trials.ask(spec, {"do": "examine"}))
    except TrialFailed as error:
        return [judge_end(spec.image, str(error))]


def judge_end(image: str, words: str) -> Finding:
    """The container ended before it could be examined."""
    fix = f"docker run --rm {image} jupyterhub-singleuser --version"
    if "jupyterhub-singleuser" in words:
        fix = "add to the image: pip install jupyterhub jupyterlab"
    return fail(f"image {image}", " ".join(words.split())[:400], fix=fix)


def judge(image: str, found: dict[str, Any]) -> list[Finding]:
    """From what `inside.examine` says."""
    check = f"image {image}"
    missing = _missing(check, found)
    if missing:
        return missing
    return [
        _versions(check, found),
        _cost(f"{check} import", found),
        *_extensions(f"{check} extension", found["extensions"]),
    ]


def _missing(check: str, found: dict[str, Any]) -> list[Finding]:
    python = tuple(int(part) for part in found["python"].split(".")[:2])
    if python < OLDEST_PYTHON:
        fix = "build it on an image with Python 3.9 or later"
        return [fail(check, f"Python {found['python']} cannot be warmed", fix=fix)]
    broken = [part for part in found["parts"] if part["error"]]
    return [
        fail(
            check,
            f"{part['name']} cannot be imported: {part['error']}",
            fix="add to the image: pip install jupyterhub jupyterlab",
        )
        for part in broken
    ]


def _versions(check: str, found: dict[str, Any]) -> Finding:
    versions = {name: version for name, version in found["versions"].items() if version}
    seen = ", ".join(["Python " + found["python"], *(f"{n} {v}" for n, v in versions.items())])
    hub = versions.get("jupyterhub", "0")
    if int(hub.split(".")[0]) < OLDEST_JUPYTERHUB:
        return warn(check, seen, fix="add to the image: pip install jupyterhub, as old as the hub")
    if found["uid"] == 0:
        return warn(check, f"{seen}; it runs as root", fix="add to the image: USER 1000")
    return ok(check, seen)


def _cost(check: str, found: dict[str, Any]) -> Finding:
    parts = [*found["parts"], *found["extensions"]]
    cpu, wall = (sum(part[key] for part in parts) for key in ("cpu_s", "wall_s"))
    seen = f"{cpu:.1f} CPU s ({wall:.1f} s here and now) for each warm-up"
    if not found["compiled"]:
        fix = "add to the image: RUN python3 -m compileall -q of Jupyter's site-packages"
        return warn(check, f"{seen}; its bytecode is not compiled", fix=fix)
    if cpu > SLOW_SECONDS:
        fix = "leave extensions out of the image that nobody uses: jupyter server extension list"
        return warn(check, seen, fix=fix)
    return ok(check, seen)


def _extensions(check: str, extensions: list[dict[str, Any]]) -> list[Finding]:
    findings = []
    for each in extensions:
        name = f"{check} {each['name']}"
        off = f"in the image: jupyter server extension disable --sys-prefix {each['name']}"
        if each["error"]:
            findings.append(warn(name, f"cannot be imported: {each['error']}", fix=off))
        elif each["cpu_s"] > SLOW_EXTENSION_SECONDS:
            seen = f"its import takes {each['cpu_s']:.1f} CPU s of every warm-up"
            findings.append(warn(name, seen, fix=f"if nobody needs it, {off}"))
    if not findings:
        return [ok(f"{check}s", f"{len(extensions)} enabled, none slow")]
    return findings
