"""The demo's hub: any name logs in, servers come from Greenroom. Started by `scripts/up`.

Not a pattern for production in two places: DummyAuthenticator, and a hub that runs as root.
"""

from __future__ import annotations

import os
import sys

c = get_config()  # type: ignore[name-defined]  # noqa: F821

# People come through the proxy, which `up` starts and which outlives the hub.
c.JupyterHub.bind_url = os.environ["DEMO_PUBLIC_URL"]
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = os.environ["DEMO_PROXY_API"]
c.JupyterHub.cleanup_servers = False

# Notebooks ask the hub who a visitor is: its API listens where containers reach it.
c.JupyterHub.hub_bind_url = os.environ["DEMO_HUB_URL"]
c.JupyterHub.hub_connect_url = os.environ["DEMO_HUB_URL"]

c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

# Settings of Greenroom itself come from GREENROOM_* in the environment.
c.JupyterHub.spawner_class = "greenroom"
c.Spawner.default_url = "/lab"
c.JupyterHub.allow_named_servers = True

# Forty people who press Start together is what this is for.
c.JupyterHub.concurrent_spawn_limit = 0

c.JupyterHub.services = [
    {"name": "bench", "api_token": os.environ["DEMO_BENCH_TOKEN"]},
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"],
    },
]
c.JupyterHub.load_roles = [
    {
        "name": "bench",
        "services": ["bench"],
        "scopes": ["admin:users", "servers", "access:servers", "tokens", "read:hub"],
    },
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    },
]
