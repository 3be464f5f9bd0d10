"""Settings: one frozen tree, read once. Environment over file over defaults.

`GREENROOM_<NAME>` in the environment (`GREENROOM_NODE__ADDRESS` for `node.address`), or
the TOML file that `GREENROOM_CONFIG` names. An unknown key in the file is an error.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from controlplane.errors import BadSettings
from controlplane.messages.words import Word
from controlplane.model import targets


class NodeSettings(BaseModel):
    """What only an agent needs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Word = Field("node1", description="this node's name, unique in the installation")
    address: IPvAnyAddress | None = Field(
        None, description="where hub and proxy reach this node's notebooks; ports open only here"
    )
    first_port: int = Field(20_000, ge=1024, le=65_535, description="first published port")
    last_port: int = Field(29_999, ge=1024, le=65_535, description="last published port")
    max_notebooks: int = Field(200, ge=1, le=5_000, description="containers at most, all pools")
    creates: int = Field(2, ge=1, le=64, description="containers being created at once")
    activations: int | None = Field(
        None, ge=1, le=256, description="activations at once; default: the node's cores"
    )
    min_uid: int = Field(
        1000, ge=1, description='lowest uid that a notebook with run_as = "user" may have'
    )
    docker_host: str = Field("unix:///var/run/docker.sock", description="the engine's socket")
    state_dir: Path | None = Field(
        None, description="journal and slots; default /var/lib/greenroom/<installation>/<name>"
    )
    probe_host: bool = Field(True, description="ask `<prefix>api` before a notebook is served")
    firewall: Literal["require", "try", "off"] = Field(
        "try", description="rules for notebooks; require: no rules, no notebooks"
    )
    egress: str = Field("internet", description="what notebooks reach besides hub and DNS")
    forbidden: str = Field("", description="what they never reach, besides what is always closed")
    clients: str = Field("", description="who reaches notebooks, besides registered hubs")
    dns: str = Field("", description="DNS servers of notebooks; default: this machine's own")

    @field_validator("egress", "forbidden", "clients", "dns", mode="before")
    @classmethod
    def _list_or_text(cls, value: Any) -> Any:
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return ", ".join(value) if is_list else value

    @model_validator(mode="after")
    def _addresses_can_be_read(self) -> NodeSettings:
        targets.egress(self.egress)
        targets.targets(self.forbidden)
        targets.networks(self.clients)
        targets.addresses(self.dns)
        return self

    @model_validator(mode="after")
    def _ports_in_order(self) -> NodeSettings:
        if self.last_port - self.first_port + 1 < self.max_notebooks:
            raise ValueError(
                f"first_port..last_port holds {self.last_port - self.first_port + 1} ports, "
                f"fewer than max_notebooks = {self.max_notebooks}: widen the range"
            )
        return self


class Settings(BaseSettings):
    """Everything that a process of Greenroom is told."""

    model_config = SettingsConfigDict(
        env_prefix="GREENROOM_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    installation: Word = Field("greenroom", description="prefix of queues, keys and labels")
    amqp_url: SecretStr = Field(SecretStr("amqp://guest:guest@127.0.0.1:5672/"))
    postgres_url: SecretStr = Field(SecretStr("postgresql://greenroom@127.0.0.1:5432/greenroom"))
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"))
    postgres_connections: int = Field(8, ge=1, le=200, description="connections of one process")
    postgres_statement_cache: int = Field(
        100, ge=0, description="0 behind pgbouncer in transaction mode"
    )
    seal_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Fernet keys, newest first, comma-separated in the environment"
    )
    http_host: str = Field("127.0.0.1", description="where /metrics and /healthz listen")
    http_port: int = Field(0, ge=0, le=65_535, description="0: any free port, logged at start")
    log_format: Literal["json", "console"] = Field("json")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info")
    retention_days: int = Field(30, ge=1, description="how long events are kept")
    node: NodeSettings = Field(default_factory=NodeSettings)

    @model_validator(mode="before")
    @classmethod
    def _split_keys(cls, values: dict[str, Any]) -> dict[str, Any]:
        keys = values.get("seal_keys")
        if isinstance(keys, str):
            values = values | {"seal_keys": [key for key in keys.split(",") if key]}
        return values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file."""
        path = os.environ.get("GREENROOM_CONFIG")
        if path is None:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(path))

    @property
    def node_state_dir(self) -> Path:
        """Where this node's agent keeps its state."""
        default = Path("/var/lib/greenroom") / self.installation / self.node.name
        return self.node.state_dir or default

    def keys(self) -> tuple[str, ...]:
        """The seal keys in clear."""
        return tuple(key.get_secret_value() for key in self.seal_keys)


def load() -> Settings:
    """The settings of this process, or `BadSettings` naming key, value and fix."""
    path = os.environ.get("GREENROOM_CONFIG")
    if path is not None and not Path(path).is_file():
        raise BadSettings(f"GREENROOM_CONFIG names {path!r}, and there is no such file")
    try:
        return Settings()
    except ValidationError as error:
        raise BadSettings("\n".join(_sentence(e) for e in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not TOML: {error}") from None
    except SettingsError as error:
        raise BadSettings(f"{error}: docs/settings.md shows how it is written") from None


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "settings"
    # A login or a key must not get into a log by being wrong.
    secret = key.partition(".")[0] in _SECRETS
    said = key if secret else f"{key} = {error.get('input')!r}"
    if error["type"] != "extra_forbidden":
        return f"{said}: {error['msg'][0].lower()}{error['msg'][1:]}; docs/settings.md has its row"
    where, _, name = key.rpartition(".")
    known = list((NodeSettings if where == "node" else Settings).model_fields)
    close = difflib.get_close_matches(name, known, n=1)
    return f"{said}: there is no such setting; " + (
        f"did you mean {close[0]}?" if close else f"known here are {', '.join(sorted(known))}"
    )


_SECRETS = frozenset(
    name for name, field in Settings.model_fields.items() if "Secret" in str(field.annotation)
)
