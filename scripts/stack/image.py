"""Builds the demo's notebook image, and the same one without an entry point.

A base comes from a registry where one answers, else from debootstrap with the mirror that this
machine uses; notebook/Dockerfile does the rest. Built only when something it is made of changed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.stack.commands import read, run
from scripts.stack.places import CHECKOUT, STATE
from scripts.stack.screen import Trouble

TAG = "greenroom-demo:latest"
PLAIN_TAG = "greenroom-demo-plain:latest"
LABEL = "greenroom.image.inputs"
CACHE = STATE / "cache"
LOG = STATE / "log" / "image.log"

RECIPE = ("Dockerfile", "requirements.txt", "start.sh", "hooks")
PACKAGES = ("python3", "python3-venv", "tini", "ca-certificates")
PULL_SECONDS, BASE_SECONDS, BUILD_SECONDS = 60.0, 900.0, 1800.0
CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PIP_SETTINGS = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "default-timeout",
    "timeout",
    "proxy",
)

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class System:
    """The distribution of this machine, which the image takes too."""

    name: str
    suite: str
    version: str
    mirror: str

    @property
    def registry_name(self) -> str:
        return f"debian:{self.suite}-slim" if self.name == "debian" else f"ubuntu:{self.version}"


def build(
    docker_host: str, *, tag: str = TAG, plain_tag: str = PLAIN_TAG, log: Path = LOG, say: Say
) -> bool:
    """Make both images on the engine at `docker_host`; False if they were up to date.

    `say` gets a line per step. What goes wrong is `Trouble`, with the log that shows it.
    """
    docker = ("docker", "--host", docker_host)
    inputs = fingerprint()
    if all(label_of(docker, name) == inputs for name in (tag, plain_tag)):
        return False
    with alone():
        base = find_base(docker, this_system(), log=log, say=say)
        with context() as folder:
            for target, name in (("plain", plain_tag), ("demo", tag)):
                say(f"building {name}")
                command = (
                    *docker, "build", "--network", "host", "--target", target, "--tag", name,
                    "--build-arg", f"BASE={base}", "--label", f"{LABEL}={inputs}",
                    "--file", folder / "notebook" / "Dockerfile", folder,
                )  # fmt: skip
                # The classic builder is in every engine; BuildKit wants a plugin in some.
                quiet = {"DOCKER_BUILDKIT": "0"}
                run(command, log=log, timeout_seconds=BUILD_SECONDS, environment=quiet)
    return True


def copy(tag: str, *, source: str, target: str, say: Say) -> None:
    """Bring an image that one engine has to another one on this machine, if it lacks it."""
    identity = ("image", "inspect", "--format", "{{.Id}}", tag)
    there = read(("docker", "--host", target, *identity))
    if there is not None and there == read(("docker", "--host", source, *identity)):
        return
    say(f"copying {tag} to {target}")
    with subprocess.Popen(
        ("docker", "--host", source, "image", "save", tag), stdout=subprocess.PIPE
    ) as saved:
        loaded = subprocess.run(
            ("docker", "--host", target, "image", "load", "--quiet"),
            stdin=saved.stdout,
            capture_output=True,
            text=True,
            timeout=BASE_SECONDS,
            check=False,
        )
        # Leaving closes our end of the pipe, so a writer whose reader gave up ends, too.
    if saved.returncode != 0 or loaded.returncode != 0:
        raise Trouble(f"cannot copy {tag} from {source} to {target}: {loaded.stderr.strip()}")


def fingerprint() -> str:
    """A hash of everything that is written here; what PyPI has today is not part of it."""
    digest = hashlib.sha256()
    for file in recipe_files():
        digest.update(f"{file.name} {file.stat().st_mode:o}\n".encode() + file.read_bytes())
    digest.update(repr((this_system(), PACKAGES)).encode())
    return digest.hexdigest()[:16]


def recipe_files() -> Iterator[Path]:
    for name in RECIPE:
        path = CHECKOUT / "notebook" / name
        yield from sorted(path.iterdir()) if path.is_dir() else (path,)


def label_of(docker: tuple[str, ...], tag: str) -> str:
    asked = f'{{{{index .Config.Labels "{LABEL}"}}}}'
    return (read((*docker, "image", "inspect", "--format", asked, tag)) or "").strip()


@contextmanager
def alone() -> Iterator[None]:
    """Two commands of one checkout do not build at the same time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def context() -> Iterator[Path]:
    """What the builder may see: the recipe, and this machine's certificates for one stage."""
    with tempfile.TemporaryDirectory(prefix="greenroom-image-") as name:
        folder = Path(name)
        for part in RECIPE:
            source, target = CHECKOUT / "notebook" / part, folder / "notebook" / part
            target.parent.mkdir(exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        trust = folder / "trust"
        trust.mkdir()
        shutil.copyfile(certificates(), trust / "ca.crt")
        (trust / "pip.conf").write_text(pip_settings())
        yield folder


def certificates() -> Path:
    named = (Path(os.environ[name]) for name in CERTIFICATES if os.environ.get(name))
    for path in (*named, Path("/etc/ssl/certs/ca-certificates.crt")):
        if path.is_file():
            return path
    raise Trouble("no certificate bundle found", advice="Install ca-certificates.")


def pip_settings() -> str:
    """This machine's pip settings, without those that name its files."""
    told = read((sys.executable, "-m", "pip", "config", "list")) or ""
    found = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", told, re.M))
    kept = {name: found[name] for name in PIP_SETTINGS if name in found}
    lines = (f"{name} = {value}" for name, value in kept.items() if "file:" not in value)
    return "\n".join(("[global]", *lines, ""))


# The base


def find_base(docker: tuple[str, ...], system: System, *, log: Path, say: Say) -> str:
    """The tag of a base: one made earlier, one from a registry, or one from debootstrap."""
    wanted = hashlib.sha256(repr((system, PACKAGES)).encode()).hexdigest()[:12]
    tag = f"greenroom-demo-base:{wanted}"
    if read((*docker, "image", "inspect", tag)) is not None:
        return tag
    kept = CACHE / f"base-{wanted}.tar"
    if not kept.exists():
        say(f"looking for {system.registry_name}")
        pull = (*docker, "pull", "--quiet", system.registry_name)
        if read(pull, timeout_seconds=PULL_SECONDS) is not None:
            return system.registry_name
        debootstrap(system, kept, log=log, say=say)
    say(f"importing the base, Python of {system.name} {system.suite}")
    run((*docker, "import", kept, tag), log=log, timeout_seconds=BASE_SECONDS)
    return tag


def debootstrap(system: System, kept: Path, *, log: Path, say: Say) -> None:
    if shutil.which("debootstrap") is None:
        raise Trouble("debootstrap is not installed", advice="apt-get install debootstrap")
    say(f"no registry answers: making a base from {system.mirror} (about a minute)")
    as_root = () if os.geteuid() == 0 else ("sudo", "-n")
    root = Path(tempfile.mkdtemp(prefix="base-", dir=CACHE))
    components = "main,universe" if system.name == "ubuntu" else "main"
    packages = ",".join(PACKAGES)
    try:
        command = (
            *as_root, "debootstrap", "--variant=minbase", f"--components={components}",
            f"--include={packages}", system.suite, root, system.mirror,
        )  # fmt: skip
        run(command, log=log, timeout_seconds=BASE_SECONDS)
        unwanted = ("./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*", "./dev/*")
        excluded = (f"--exclude={pattern}" for pattern in unwanted)
        partly = kept.with_suffix(".part")
        pack = (*as_root, "tar", "-C", root, "--numeric-owner", *excluded, "-cf", partly, ".")
        run(pack, log=log, timeout_seconds=BASE_SECONDS)
        partly.rename(kept)
    finally:
        run((*as_root, "rm", "-rf", "--one-file-system", root), log=log, timeout_seconds=120)


def this_system() -> System:
    told = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.M))
    name, suite = told.get("ID", ""), told.get("VERSION_CODENAME", "")
    if name not in ("debian", "ubuntu") or not suite:
        raise Trouble(
            f"the demo image is made on Debian or Ubuntu, and this is {name or 'something else'}",
            advice="Name an image of your own with jupyterhub-singleuser in the pools file.",
        )
    version = told.get("VERSION_ID", "")
    return System(name=name, suite=suite, version=version, mirror=mirror_of(suite))


def mirror_of(suite: str, sources: Path = Path("/etc/apt")) -> str:
    """The first address from which apt takes `suite` itself; in either format of apt."""
    files = (sources / "sources.list", *sorted((sources / "sources.list.d").glob("*")))
    for file in files:
        if file.suffix in (".list", ".sources") and file.is_file():
            for address in addresses_in(file.read_text(), suite):
                return address
    raise Trouble(
        f"apt has no source for {suite}", advice=f"Add one below {sources}, then try again."
    )


def addresses_in(text: str, suite: str) -> Iterator[str]:
    for line in text.splitlines():
        found = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(https?://\S+)\s+(\S+)\s", line)
        if found and found[2] == suite:
            yield found[1]
    for stanza in re.split(r"\n\s*\n", text):
        told = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.M))
        if suite in told.get("Suites", "").split() and "deb" in told.get("Types", "").split():
            yield from told.get("URIs", "").split()[:1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.stack.image", description=__doc__)
    default = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    parser.add_argument("--docker-host", default=default)
    parser.add_argument("--tag", default=TAG)
    parser.add_argument("--plain-tag", default=PLAIN_TAG)
    told = parser.parse_args()
    try:
        built = build(told.docker_host, tag=told.tag, plain_tag=told.plain_tag, say=print)
    except Trouble as trouble:
        log = f" (see {trouble.log})" if trouble.log else ""
        print(f"{trouble.reason}{log}\n{trouble.advice or ''}".rstrip(), file=sys.stderr)
        return 1
    print(f"{told.tag} {'is built' if built else 'was up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
