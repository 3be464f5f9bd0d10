"""Everything that needs the Docker engine, in order. Needs the extra `[node]`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from controlplane.clients.docker import Docker
from controlplane.doctor import firewall, image, mounts, network, node, storage
from controlplane.doctor.finding import Finding, Level, answered, warn
from controlplane.doctor.trials import Trials, folder
from controlplane.doctor.wanted import Wanted
from controlplane.errors import GreenroomError
from controlplane.model import ContainerSpec, PoolSpec
from controlplane.settings import Settings

ENGINE_SECONDS = 60.0
CALL_SECONDS, SLOW_CALL_SECONDS = 30.0, 120.0
# Containers of stock images begin slowly on a busy machine; this only bounds what hangs.
TRIAL_SECONDS = 600.0
RETRY = "docker ps; journalctl -u docker"


async def findings(
    settings: Settings, wanted: Wanted, pools: Sequence[PoolSpec]
) -> AsyncIterator[Finding]:
    """Settings, kernel, engine; then what takes containers, where the engine answers."""
    if wanted.node:
        for each in await node.look(settings):
            yield each
    engine = Docker(settings.node.docker_host, seconds=CALL_SECONDS, slow_seconds=SLOW_CALL_SECONDS)
    try:
        found = await answered(
            node.ENGINE,
            _engine(engine),
            seconds=ENGINE_SECONDS,
            fix="systemctl start docker, or correct node.docker_host",
        )
        for each in found:
            yield each
        if wanted.node and all(each.level is not Level.FAIL for each in found):
            look = firewall.look(engine, settings)
            fix = firewall.START
            for each in await answered(firewall.CHECK, look, seconds=ENGINE_SECONDS, fix=fix):
                yield each
        if all(each.level is not Level.FAIL for each in found):
            with folder() as place:
                trials = Trials(engine, installation=settings.installation, folder=place)
                async for each in _with_containers(trials, settings, wanted, pools):
                    yield each
    finally:
        await engine.close()


async def _engine(engine: Docker) -> list[Finding]:
    return node.judge_engine(await engine.facts())


async def _with_containers(
    trials: Trials, settings: Settings, wanted: Wanted, pools: Sequence[PoolSpec]
) -> AsyncIterator[Finding]:
    images = _images(wanted, pools)
    for name, spec in images.items():
        look = image.look(trials, spec)
        for each in await answered(f"image {name}", look, seconds=TRIAL_SECONDS, fix=RETRY):
            yield each
    usable = await _usable(trials, list(images.values()))
    if usable is None:
        if wanted.node or wanted.hubs:
            fix = "greenroom doctor --node --image IMAGE, or -f with the pools file"
            yield warn("trials", "no image of a pool is here to try mounts and network", fix=fix)
    else:
        async for each in _tried(trials, settings, wanted, usable):
            yield each
    if wanted.node:
        async for each in _stored(trials, pools, settings.node.min_uid):
            yield each


async def _tried(
    trials: Trials, settings: Settings, wanted: Wanted, spec: ContainerSpec
) -> AsyncIterator[Finding]:
    looks = []
    if wanted.node:
        looks += [(mounts.CHECK, _mounts(trials, spec, settings))]
        looks += [(network.ISOLATION, _isolation(trials, spec, settings))]
    for url in network.urls(wanted.hubs):
        looks += [(f"hub {url}", network.look_at_hub(trials, spec, settings, url))]
    for check, look in looks:
        for each in await answered(check, look, seconds=TRIAL_SECONDS, fix=RETRY):
            yield each


async def _mounts(trials: Trials, spec: ContainerSpec, settings: Settings) -> list[Finding]:
    return [mounts.judge(await mounts.look(trials, spec, settings.node_state_dir))]


async def _isolation(trials: Trials, spec: ContainerSpec, settings: Settings) -> list[Finding]:
    seen = await network.look_at_neighbours(trials, spec, settings)
    return [network.judge_neighbours(seen)]


async def _stored(
    trials: Trials, pools: Sequence[PoolSpec], min_uid: int
) -> AsyncIterator[Finding]:
    for pool in pools:
        if pool.container.storage is None:
            fix = f"give {pool.name} a [pools.container.storage], or live with it"
            yield warn(f"storage of {pool.name}", "none: what people save is lost", fix=fix)
            continue
        look = storage.look(trials, pool.name, pool.container, min_uid=min_uid)
        fix = f"ls {pool.container.storage.root}"
        check = f"storage of {pool.name}"
        for each in await answered(check, look, seconds=TRIAL_SECONDS, fix=fix):
            yield each


def _images(wanted: Wanted, pools: Sequence[PoolSpec]) -> dict[str, ContainerSpec]:
    """Each image once; with its pool's limits and environment where it has one."""
    found = {pool.container.image: pool.container for pool in reversed(pools)}
    if wanted.image is not None:
        spec = found.get(wanted.image) or ContainerSpec(image=wanted.image)
        return {wanted.image: spec}
    return found


async def _usable(trials: Trials, specs: Sequence[ContainerSpec]) -> ContainerSpec | None:
    for spec in specs:
        try:
            if await trials.engine.image(spec.image) is not None:
                return spec
        except GreenroomError:
            # The look at that image has said so.
            continue
    return None
