"""What JSON can say."""

from typing import TYPE_CHECKING, TypeAlias

# A value as JSON knows it. Recursive for the type checker only: resolving it at run time would never end.
if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
else:
    Json = object
