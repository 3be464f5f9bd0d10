"""Field types that messages share: what a well-formed id, name or text is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

# UUIDs in their canonical lower-case form.
Uuid = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
]
# The span of all ids. None has the last one: a UUID's version is never f.
EVERY_ID = ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff")
LeaseId = Uuid
NotebookId = Uuid
# Names that become routing keys and queue names.
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
HubId = Word
HubProcess = Word
NodeId = Word
PoolName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
# What hubs allow in names; only NUL is impossible in Postgres and in a path.
UserName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
ServerName = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")]
Prefix = Annotated[str, StringConstraints(max_length=2048, pattern=r"^/([^/\x00\s][^\x00\s]*/)?$")]
Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s\x00]+$")]
# Words for people, often out of a log. What Postgres cannot hold must not cost the message.
Text = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(lambda text: text.replace("\0", "\ufffd")),
]
Reason = Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z0-9_.-]*$")]
# Where a home is: empty for the pool's root, "backup-ro" or "backup-rw" while that does not answer.
Home = Reason
Sealed = Annotated[str, StringConstraints(max_length=48 * 1024)]
BudgetMs = Annotated[int, Field(ge=0, le=24 * 3600 * 1000)]
Epoch = Annotated[int, Field(ge=0, le=2**62)]
Seq = Annotated[int, Field(ge=0, le=2**62)]
# What a column of type integer holds.
Number = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Port = Annotated[int, Field(ge=1, le=65535)]
Stages = Annotated[dict[str, float], Field(max_length=32, description="milliseconds by stage")]
