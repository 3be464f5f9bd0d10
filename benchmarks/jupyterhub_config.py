"""One of the benchmark's hubs; BENCH_KIND says which. Started by benchmarks/hubs.py."""

from __future__ import annotations

import os

c = get_config()  # type: ignore[name-defined]  # noqa: F821
kind = os.environ["BENCH_KIND"]

c.JupyterHub.bind_url = os.environ["BENCH_PUBLIC_URL"]
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = os.environ["BENCH_PROXY_API"]
c.JupyterHub.hub_bind_url = os.environ["BENCH_HUB_URL"]
c.JupyterHub.hub_connect_url = os.environ["BENCH_HUB_URL"]
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.concurrent_spawn_limit = 0
c.Spawner.default_url = "/lab"
c.Spawner.start_timeout = 600
c.Spawner.http_timeout = 300

if kind == "floor":
    c.JupyterHub.spawner_class = "benchmarks.floor.FloorSpawner"
elif kind == "dockerspawner":
    c.JupyterHub.spawner_class = "docker"
    c.DockerSpawner.image = os.environ["BENCH_IMAGE"]
    # The image has an entry point and no command of its own, which DockerSpawner cannot add to.
    c.DockerSpawner.cmd = ["jupyterhub-singleuser"]
    c.DockerSpawner.remove = True
    c.DockerSpawner.prefix = os.environ["BENCH_NAME"]
    c.DockerSpawner.network_name = "bridge"
    c.DockerSpawner.use_internal_ip = True
    c.DockerSpawner.volumes = {os.environ["BENCH_HOMES"] + "/{username}": "/home/jovyan"}
else:
    c.JupyterHub.spawner_class = "greenroom"
    c.GreenroomSpawner.pool = "demo"

c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["BENCH_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "bench",
        "services": ["bench"],
        "scopes": ["admin:users", "servers", "access:servers", "tokens", "read:hub"],
    }
]
