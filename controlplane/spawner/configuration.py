"""What an admin may set on `c.GreenroomSpawner`, and our defaults for inherited traits."""

from __future__ import annotations

from traitlets import Callable, Float, HasTraits, Instance, Integer, List, Unicode, default

from controlplane.spawner import entrance, traits
from controlplane.spawner.door import Door


class Configuration(HasTraits):
    """A part of GreenroomSpawner. Reads `GREENROOM_*` for what the hub's file leaves out."""

    pool = Unicode(
        help="The pool for users who choose none. Empty: the only one that they may use."
    ).tag(config=True)
    amqp_url = Unicode(help="RabbitMQ. Default: GREENROOM_AMQP_URL.").tag(config=True)
    installation = Unicode(help="Default: GREENROOM_INSTALLATION.").tag(config=True)
    seal_keys = List(
        Unicode(), help="Fernet keys, newest first. Default: GREENROOM_SEAL_KEYS."
    ).tag(config=True)
    hub_id = Unicode(
        help="This hub's name, the same after a restart. Default: kept in the file "
        "greenroom-hub-id beside the hub's cookie secret."
    ).tag(config=True)
    hold_in_start = Integer(
        50,
        min=0,
        help="So many people of this hub wait in line as pending starts, which the hub limits "
        "by concurrent_spawn_limit; the others are sent a page that comes back for their place.",
    ).tag(config=True)
    keep_place_seconds = Float(
        60.0, min=1.0, help="So long a place in line is kept for who was sent such a page."
    ).tag(config=True)
    identity = Callable(
        default_value=None,
        allow_none=True,
        help="Called with the spawner at each start; may be async. Returns uid, and if it likes "
        'gid, groups and name, of whom a notebook of a pool with run_as = "user" becomes; None: '
        "whoever owns the home.",
    ).tag(config=True)
    door = Instance(Door, help="The connection that all spawners of this process share.")

    def group_names(self) -> tuple[str, ...]:
        """The hub's groups of this user, in order."""
        return tuple(sorted(group.name for group in self.user.groups))

    @default("door")
    def _default_door(self) -> Door:
        return entrance.door_of(self)

    @default("amqp_url")
    def _default_amqp_url(self) -> str:
        return entrance.defaults().amqp_url.get_secret_value()

    @default("installation")
    def _default_installation(self) -> str:
        return entrance.defaults().installation

    @default("seal_keys")
    def _default_seal_keys(self) -> list[str]:
        return list(entrance.defaults().keys())

    @default("ip")
    def _default_ip(self) -> str:
        return "0.0.0.0"

    @default("port")
    def _default_port(self) -> int:
        return traits.PORT

    @default("start_timeout")
    def _default_start_timeout(self) -> int:
        return 600
