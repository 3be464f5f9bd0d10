"""Every trait that `jupyterhub.spawner.Spawner` hands down, on one of three lists.

A pool's containers are warm before anybody asks, so what shapes a container is the pool's.
Whoever sets such a trait to something else, in the configuration or in a hook, is told so
by name when the server starts: nothing is ignored in silence. A test holds these lists
against the traits of every supported JupyterHub.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.messages import KnownPool

MiB = 1024 * 1024
PORT = 8888

# Work as in any spawner: read by the hub, or carried to the notebook at activation.
HONOURED = frozenset(
    {
        "admin_access",
        "api_token",
        "apply_user_options",
        "args",
        "auth_state_hook",
        "authenticator",
        "config",
        "consecutive_failure_limit",
        "cookie_host_prefix_enabled",
        "cookie_options",
        "debug",
        "default_url",
        "disable_user_config",
        "env",
        "env_keep",
        "environment",
        "group_overrides",
        "handler",
        "http_timeout",
        "hub",
        "hub_connect_url",
        "log",
        "notebook_dir",
        "oauth_access_scopes",
        "oauth_client_allowed_scopes",
        "oauth_client_id",
        "oauth_roles",
        "options_form",
        "options_from_form",
        "orm_spawner",
        "parent",
        "poll_interval",
        "poll_jitter",
        "post_stop_hook",
        "pre_spawn_hook",
        "progress_ready_hook",
        "proxy_spec",
        "public_hub_url",
        "public_url",
        "server_token_scopes",
        "start_timeout",
        "user",
        "user_options",
        "db",
        "_deprecated_db_session",
        "_callbacks",
        "_poll_callback",
    }
)

# Fixed when a notebook is warmed. A value that differs from the pool's is refused by name.
OWNED = frozenset(
    {
        "cmd",
        "cpu_guarantee",
        "cpu_limit",
        "internal_ssl",
        "ip",
        "mem_guarantee",
        "mem_limit",
        "port",
        "will_resume",
    }
)

# Nothing here reads them: certificates of internal_ssl, which is refused, and the pause
# between polls of a stop, which returns without polling.
MEANINGLESS = frozenset(
    {
        "cert_paths",
        "death_interval",
        "internal_certs_location",
        "internal_trust_bundles",
        "ssl_alt_names",
        "ssl_alt_names_include_local",
        "trusted_alt_names",
    }
)

# What other spawners call the things that a pool owns: a hook that was written for one of
# them sets these, and would be ignored without a word.
FOREIGN = frozenset(
    {
        "container_image",
        "extra_containers",
        "extra_create_kwargs",
        "extra_endpoint_config",
        "extra_host_config",
        "extra_network_config",
        "extra_pod_config",
        "extra_resource_guarantees",
        "extra_resource_limits",
        "fs_gid",
        "gid",
        "group_id",
        "host_homedir_format_string",
        "image",
        "image_homedir_format_string",
        "image_whitelist",
        "allowed_images",
        "init_containers",
        "mounts",
        "network_name",
        "node_affinity_required",
        "node_selector",
        "profile_list",
        "pvc_name",
        "read_only_volumes",
        "run_as_root",
        "storage_capacity",
        "supplemental_gids",
        "tolerations",
        "uid",
        "use_internal_hostname",
        "use_internal_ip",
        "user_id",
        "user_storage_pvc",
        "volume_mounts",
        "volumes",
    }
)

# What other spawners call a person's identity: here it is the `identity` hook's.
_WHOSE = frozenset(
    {"fs_gid", "gid", "group_id", "run_as_root", "supplemental_gids", "uid", "user_id"}
)

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "cpu_guarantee": (None,),
    "internal_ssl": (False,),
    "ip": ("0.0.0.0", "", "::"),
    "mem_guarantee": (None,),
    "port": (PORT,),
    "will_resume": (False,),
}
_BECAUSE = {
    "cpu_guarantee": "Greenroom gives limits, no guarantees: leave it out",
    "internal_ssl": "notebooks are reached over plain HTTP: set c.JupyterHub.internal_ssl = False",
    "ip": "inside a container a server must listen on all addresses: leave it out",
    "mem_guarantee": "Greenroom gives limits, no guarantees: leave it out",
    "port": f"a notebook's port was published when it was warmed: leave it at {PORT}",
    "will_resume": "a notebook is used once and destroyed: leave it out",
}


def conflicts(values: Mapping[str, Any], pool: KnownPool | None) -> Iterator[str]:
    """One sentence for each owned trait whose value the pool cannot give.

    `values` are the owned traits and whatever foreign names were set. `pool` is None while
    nobody has told us about it.
    """
    for name in sorted(values):
        value = values[name]
        if name == "image" and pool is not None and value == pool.image:
            continue
        if name in _WHOSE:
            yield (
                f"{name} is set to {value!r}: set c.GreenroomSpawner.identity instead, which pools "
                'with run_as = "user" obey'
            )
        elif name in FOREIGN:
            yield f"{name} is set to {value!r}: {_fixed(pool)}"
        elif (why := _owned(name, value, pool)) is not None:
            yield f"{name} is {value!r}: {why}"


def _owned(name: str, value: Any, pool: KnownPool | None) -> str | None:
    match name:
        case "mem_limit":
            memory = None if pool is None else float(pool.memory_mib * MiB)
            return _limit(value, pool, memory, "bytes of memory")
        case "cpu_limit":
            return _limit(value, pool, None if pool is None else pool.cpus, "CPUs")
        case "cmd":
            stock = list(value) in ([], ["jupyterhub-singleuser"])
            return None if stock else f"{_fixed(pool)} (`command` in the pools file)"
    return None if value in _ALLOWED[name] else _BECAUSE[name]


def _limit(
    value: float | None, pool: KnownPool | None, given: float | None, unit: str
) -> str | None:
    if value is None:
        return None
    if given is None:
        return "this hub does not know the pool yet and cannot compare: try again in a moment"
    if float(value) == float(given):
        return None
    return f"{_fixed(pool)} (it gives {given:g} {unit})"


def _fixed(pool: KnownPool | None) -> str:
    which = f"pool {pool.pool}" if pool is not None else "the pool"
    return f"that was fixed when the notebook was warmed, by {which}; change the pool instead"
