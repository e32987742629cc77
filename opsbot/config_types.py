"""The kinds of values settings have, and what every section of the configuration is."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
# Slack's ids: https://docs.slack.dev/reference/objects (2026-11). A user starts with U or W, a user group with S.
UserId = Annotated[str, Field(pattern=r"^([UW][A-Z0-9]{2,}|\*)$")]
OneUserId = Annotated[str, Field(pattern=r"^[UW][A-Z0-9]{2,}$")]
GroupId = Annotated[str, Field(pattern=r"^S[A-Z0-9]{2,}$")]
OneChannelId = Annotated[str, Field(pattern=r"^[CG][A-Z0-9]{2,}$")]
# `auto`, `none`, a socket's path, or host:port.
Syslog = Annotated[str, Field(pattern=r"^(auto|none|/.+|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5})$")]
Listen = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+([/?][^\s#]*)?$", max_length=2000)]
Port = Annotated[int, Field(ge=1, le=65535)]
Action = Literal["restart", "start", "stop", "reload", "reset-failed", "reboot", "kill"]
FilePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./@%+=:,-]+$", max_length=1024)]
# A file on the host, or `host:port` of an endpoint that speaks TLS, as seen from the bot.
Certificate = Annotated[
    str, Field(pattern=r"^(/[A-Za-z0-9_./@%+=:,-]+|(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5})$", max_length=1024)
]
DnsName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$")]


class Section(BaseModel):
    """Strict, closed, frozen; error texts never repeat what was written."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)
