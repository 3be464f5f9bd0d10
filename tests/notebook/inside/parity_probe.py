"""A server extension that a person installed at home; it tells what its server is like."""

from __future__ import annotations

import gc
import json
import locale
import os
import resource
import ssl
import sys
import time

TRAITS = ("traits", "class_traits", "class_own_traits")


def _jupyter_server_extension_points():
    return [{"module": "parity_probe"}]


def _load_jupyter_server_extension(app):
    from jupyter_server.base.handlers import APIHandler
    from jupyter_server.utils import url_path_join
    from tornado import web

    class Parity(APIHandler):
        @web.authenticated
        async def get(self):
            servers = getattr(app, "language_server_manager", None)
            if servers:
                await servers.ready()
            self.finish(json.dumps({**facts(app), **language_servers(servers)}))

    pattern = url_path_join(app.web_app.settings["base_url"], "parity")
    app.web_app.add_handlers(".*", [(pattern, Parity)])


def language_servers(servers):
    """What was found in the background, and who looked."""
    if not servers:
        return {}
    return {
        "language_servers": {
            "installed": sorted(servers.language_servers),
            "all": sorted(servers.all_language_servers),
            "listeners": [place_of(found) for found in servers.all_listeners],
        }
    }


def place_of(function):
    """Where it was written: a stand-in was written elsewhere."""
    return f"{function.__module__}.{function.__qualname__}"


def facts(app):
    from jupyter_events import schema
    from tornado.ioloop import IOLoop
    from tornado.tcpserver import TCPServer
    from traitlets.config.loader import ArgParseConfigLoader
    from traitlets.traitlets import HasTraits

    extensions = app.extension_manager.extensions
    umask = os.umask(0)
    os.umask(umask)
    return {
        "environment": dict(os.environ),
        "arguments": sys.argv,
        "command_line": open("/proc/self/cmdline").read().split("\0"),
        "main": sys.modules["__main__"].__file__,
        "path": sys.path,
        "prefix": [sys.prefix, sys.base_prefix, sys.executable],
        "flags": str(sys.flags),
        "directory": os.getcwd(),
        "identity": [os.getuid(), os.getgid(), sorted(os.getgroups())],
        "umask": umask,
        "limits": {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "locale": [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding()],
        "time_zone": [time.tzname, time.timezone],
        "extensions": {
            name: [package.enabled, app.extension_manager.linked_extensions.get(name)]
            for name, package in sorted(extensions.items())
        },
        "handlers": sorted(
            str(rule.matcher.regex.pattern)
            for rule in app.web_app.wildcard_router.rules
            if hasattr(rule.matcher, "regex")
        ),
        "configured_by_the_person": app.max_body_size,
        "settings": {
            name: str(app.web_app.settings.get(name))
            for name in ("base_url", "default_url", "static_url_prefix", "login_url")
        },
        "paths": {
            "config": app.config_dir,
            "data": app.data_dir,
            "root": app.root_dir,
            "runtime": app.runtime_dir,
        },
        "own": __file__,
        # Stand-ins of the activation are gone when the server serves.
        "tls": ssl.create_default_context.__module__,
        "listening": TCPServer.add_sockets.__module__,
        "asked": {
            **{name: place_of(getattr(HasTraits, name)) for name in TRAITS},
            "command_line": place_of(ArgParseConfigLoader.load_config),
            "event_schema": place_of(schema.validate_schema),
            "later": place_of(IOLoop.call_later),
        },
        "cli_config": str(app.cli_config),
        "event_schemas": sorted(app.event_logger.schemas.schema_ids),
        "collector": [gc.isenabled(), gc.get_threshold()],
    }
