"""The freezes section as it is written: hours of every week, or from one time to another, with a scope."""

from typing import Annotated

from pydantic import Field

from opsbot.config_policy import Label, When
from opsbot.config_types import Name, Section, Text

LocalTime = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}( ([01][0-9]|2[0-3]):[0-5][0-9])?$")]


class FreezeEntry(Section):
    """Changes held back at planned times: `when` every week, or `begins` and `ends` in the time of `timezone`."""

    name: Label
    scope: Text
    reason: Text
    when: When | None = None
    begins: LocalTime | None = None
    ends: LocalTime | None = None
    timezone: Name = "UTC"
