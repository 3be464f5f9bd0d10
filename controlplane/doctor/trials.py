"""Throw-away containers, made by the agent's own recipe and removed whatever happens.

They carry the label `greenroom.doctor` alone: an agent that saw its own labels on a container
that it does not know would remove it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane.clients.docker import Docker, Image
from controlplane.doctor import inside
from controlplane.errors import Conflict, Refused
from controlplane.model import ContainerSpec
from workers.agent import recipe
from workers.agent.node import bridge_name, package_folder

LABEL = "greenroom.doctor"
# A stock image's hooks run before we do, on a machine that may be busy.
BEGIN_SECONDS = 120.0
LOOK_SECONDS = 0.1
LOG_LINES = 200


class TrialFailed(Refused):
    """The container did not do what it was told. The message holds its last words."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a trial gets besides its order. Networks, mounts and ports in the engine's words."""

    network: str = "none"
    mounts: Sequence[Mapping[str, Any]] = ()
    ports: Mapping[str, Any] | None = None


NOTHING = Given()


class Trial:
    """One container that runs. Its order was taken up."""

    def __init__(self, engine: Docker, name: str) -> None:
        self._engine = engine
        self.name = name

    async def address(self) -> str:
        """Its address on its network."""
        seen = await self._engine.inspect(self.name)
        return seen.address if seen else ""

    async def runs(self) -> bool:
        """Is it still there?"""
        seen = await self._engine.inspect(self.name)
        return seen is not None and seen.state == "running"

    async def said(self, *, times: int = 1, seconds: float = BEGIN_SECONDS) -> Any:
        """What it says for the so many-th time; `TrialFailed` if it ends or stays silent."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    # Looked at before the log: what it said last is in it when it has ended.
                    seen = await self._engine.inspect(self.name)
                    lines = answers(await self._engine.log_tail(self.name, lines=LOG_LINES))
                    if len(lines) >= times:
                        return lines[times - 1]
                    if seen is None or seen.state == "exited":
                        raise TrialFailed(await self._last_words(seen.exit_code if seen else None))
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise TrialFailed(f"the container said nothing for {seconds:g} s") from None

    async def _last_words(self, code: int | None) -> str:
        log = await self._engine.log_tail(self.name, lines=5)
        text = log.decode("utf-8", "replace").strip()
        if code == 0 and not text:
            return 'the image\'s entry point does not run its command (`exec "$@"`)'
        return f"the container ended with {code}: {text or 'without a word'}"


class Trials:
    """Makes them. `folder` must be a place that the engine sees as well."""

    def __init__(self, engine: Docker, *, installation: str, folder: Path) -> None:
        self.engine = engine
        self.installation = installation
        self._package = folder / "package"
        self._run = folder / "run"

    async def image(self, name: str) -> Image:
        """The image; `Refused` if it is not on this node."""
        found = await self.engine.image(name)
        if found is None:
            raise Refused(f"the image {name} is not on this node")
        return found

    async def ask(
        self, spec: ContainerSpec, order: Mapping[str, Any], given: Given = NOTHING
    ) -> Any:
        """Run a container until it has answered."""
        async with self.running(spec, order, given) as trial:
            return await trial.said(seconds=2 * BEGIN_SECONDS)

    @asynccontextmanager
    async def running(
        self, spec: ContainerSpec, order: Mapping[str, Any], given: Given = NOTHING
    ) -> AsyncIterator[Trial]:
        """A container that was started; removed at the end."""
        image = await self.image(spec.image)
        name = f"{self.installation}-doctor-{secrets.token_hex(4)}"
        try:
            await self.engine.create(name, self._config(spec, image, order, given))
            await self.engine.start(name)
            yield Trial(self.engine, name)
        finally:
            await asyncio.shield(self._remove(name))

    @asynccontextmanager
    async def network(self, standing: str | None) -> AsyncIterator[tuple[str, bool]]:
        """The agent's network if it stands, else one like it; and whether it was the agent's.

        None: one like it, whatever stands.
        """
        if standing is not None and await self.engine.gateway(standing) is not None:
            yield standing, True
            return
        name = f"{self.installation}-doctor-{secrets.token_hex(4)}"
        config = recipe.network(self._place(name), bridge_name(name))
        try:
            await self.engine.ensure_network(name, {**config, "Labels": self._labels})
            yield name, False
        finally:
            await asyncio.shield(self.engine.remove_network(name))

    @property
    def _labels(self) -> dict[str, str]:
        return {LABEL: self.installation}

    def _place(self, network: str) -> recipe.Place:
        return recipe.Place(
            installation=self.installation,
            node="doctor",
            address="",
            network=network,
            package=self._package,
        )

    def _config(
        self, spec: ContainerSpec, image: Image, order: Mapping[str, Any], given: Given
    ) -> dict[str, Any]:
        place = self._place(given.network)
        config = recipe.rehearsal(place, spec, image, name="doctor", run=self._run)
        config["Labels"] = self._labels
        config["Env"] = [
            *(f"{name}={value}" for name, value in spec.environment.items()),
            f"GREENROOM_DOCTOR={json.dumps(dict(order))}",
        ]
        config["HostConfig"]["NetworkMode"] = given.network
        config["HostConfig"]["Mounts"] += [dict(mount) for mount in given.mounts]
        if given.ports:
            config["HostConfig"]["PortBindings"] = dict(given.ports)
        return config

    async def _remove(self, name: str) -> None:
        try:
            await self.engine.remove(name)
        except Conflict:
            # Somebody removes it already.
            return


@contextmanager
def folder() -> Iterator[Path]:
    """What trials bind at /greenroom: the container's own entry, and `inside` for it to start."""
    made = Path(tempfile.mkdtemp(prefix="greenroom-doctor-"))
    try:
        made.chmod(0o755)
        package = made / "package"
        package.mkdir(mode=0o755)
        shutil.copyfile(package_folder() / "entry.sh", package / "entry.sh")
        # `entry.sh` starts the file of this name with the interpreter of the image's Jupyter.
        shutil.copyfile(inside.__file__, package / "warm_start.py")
        for file in (package, *package.iterdir()):
            file.chmod(0o755)
        (made / "run").mkdir()
        (made / "run").chmod(0o777)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def answers(log: bytes) -> list[Any]:
    """What `inside` said in this log, in order; anything else in it is the image's own."""
    found = []
    for line in log.decode("utf-8", "replace").splitlines():
        if line.startswith(inside.MARK):
            try:
                found.append(json.loads(line.removeprefix(inside.MARK)))
            except ValueError:
                # Its end is still on the way.
                continue
    return found
