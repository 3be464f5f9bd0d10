"""A pool's specification: everything that shapes its containers, and who may use them.

What an admin writes in the pools file is validated into `PoolSpec`. A revision is one
immutable `PoolSpec` with a number; `ContainerSpec` is the part that a node needs to make
the container, and its hash says whether two revisions would make the same one.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from controlplane.model.limits import PerGroup, PerUser

PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$", max_length=1024)]
MiB = 1024 * 1024


class Strict(BaseModel):
    """What a person writes: an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(Strict):
    """Limits of one notebook."""

    memory_mib: int = Field(1024, ge=64, description="hard limit, MiB; swap is off")
    cpus: float = Field(2.0, gt=0, le=512, description="cores that it may use at most")
    pids: int = Field(512, ge=32, description="processes and threads")


class Mount(Strict):
    """A further read-only directory of the node, such as a dataset."""

    source: AbsolutePath
    target: AbsolutePath


class Storage(Strict):
    """Where homes are.

    `root` is a directory on each node (usually a network mount) and `template` the home's
    path below it: `{username}` is DockerSpawner's escaping, `{raw_username}` the name as
    it is, `{servername}` the server's name. `backup` is another root with the same paths
    below it, for the time in which `root` does not answer on a node.
    """

    root: AbsolutePath
    template: str = Field("{username}", min_length=1, max_length=255)
    escape: Literal["default", "legacy"] = "default"
    target: AbsolutePath = "/home/jovyan"
    create_missing: bool = False
    read_only: bool = False
    backup: AbsolutePath | None = None
    backup_access: Literal["ro", "rw"] = "ro"

    def at_backup(self) -> Storage:
        """The same homes below the backup root. Nothing is made where nothing may be written."""
        assert self.backup is not None
        may_write = self.backup_access == "rw"
        changes = {
            "root": self.backup,
            "backup": None,
            "read_only": self.read_only or not may_write,
            "create_missing": self.create_missing and may_write,
        }
        return self.model_copy(update=changes)


class ContainerSpec(Strict):
    """Everything that shapes a warm container; hashed into the revision."""

    image: str = Field(min_length=1, max_length=255)
    command: tuple[str, ...] = ()
    resources: Resources = Resources()
    storage: Storage | None = None
    scratch_mib: int = Field(0, ge=0, description="size of a tmpfs at /scratch; 0: none")
    mounts: tuple[Mount, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    run_as: Literal["image", "user"] = "image"

    def hash(self) -> str:
        """sha256 over the canonical JSON, 64 hex digits."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class PoolSpec(Strict):
    """One pool as an admin describes it, and one revision as Postgres keeps it."""

    name: PoolName
    display_name: str = Field("", max_length=100, description="what people see; default: `name`")
    description: str = Field("", max_length=500)
    container: ContainerSpec
    warm: int | None = Field(None, ge=0, le=100_000, description="warm target, all nodes together")
    warm_per_node: int | None = Field(None, ge=0, le=10_000, description="warm target of each node")
    refill_below: int | None = Field(None, ge=0, description="refill starts below; default: target")
    maximum: int | None = Field(None, ge=0, description="notebooks in all; default: no limit")
    max_age_seconds: int = Field(86_400, ge=600, description="a warm notebook older is replaced")
    groups: tuple[str, ...] = Field((), description="hub groups that may use it; empty: everybody")
    max_per_user: PerUser = None
    max_per_group: PerGroup = Field(default_factory=dict)
    paused: bool = False

    @model_validator(mode="after")
    def _one_target(self) -> PoolSpec:
        if (self.warm is None) == (self.warm_per_node is None):
            raise ValueError("give exactly one of `warm` (in total) and `warm_per_node`")
        return self

    def target(self, nodes: int) -> int:
        """Warm notebooks wanted with so many nodes that can be offered."""
        if self.warm is not None:
            return self.warm
        return (self.warm_per_node or 0) * nodes
