"""Domain data to JSON text and back, by pydantic; unions carry an explicit, stable tag."""

import json
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from opsbot.domain import (
    Approval,
    AssistantMessage,
    Card,
    Compaction,
    Content,
    IncidentCard,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    IncomingReportClick,
    IncomingReportEdit,
    IncomingStop,
    Message,
    MessageRef,
    Place,
    Report,
    Text,
    ToolResult,
    UserMessage,
)
from opsbot.errors import StoreError
from opsbot.holds import Hold
from opsbot.incident_report import IncidentReport
from opsbot.passages import Incident

T = TypeVar("T")

_BEFORE_TAG = '{"type":"'
_AFTER_TAG = '","value":'


class Codec(Generic[T]):
    """Writes and reads values of a closed set of dataclasses as `{"type": tag, "value": {…}}`."""

    def __init__(self, types: Mapping[str, type[T]]) -> None:
        self._adapters: dict[str, TypeAdapter[T]] = {tag: TypeAdapter(kind) for tag, kind in types.items()}
        self._tags: dict[type, str] = {kind: tag for tag, kind in types.items()}

    def encode(self, value: T) -> str:
        """Return the value as JSON on one line; lone surrogates become U+FFFD, as no database takes them."""
        tag = self._tags[type(value)]
        try:
            body = self._adapters[tag].dump_json(value, fallback=_plain, warnings=False).decode()
        except PydanticSerializationError:
            plain = self._adapters[tag].dump_python(value, mode="json", fallback=_plain, warnings=False)
            body = json.dumps(_without_surrogates(plain))
        return f"{_BEFORE_TAG}{tag}{_AFTER_TAG}{body}}}"

    def decode(self, text: str) -> T:
        """Read what `encode` wrote, to the letter. Raises StoreError for anything else."""
        head, _, rest = text.partition(_AFTER_TAG)
        try:
            if not head.startswith(_BEFORE_TAG) or not rest.endswith("}"):
                raise ValueError("no tag")
            return self._adapters[head.removeprefix(_BEFORE_TAG)].validate_json(rest[:-1], strict=True)
        except (ValueError, KeyError, ValidationError) as error:
            raise StoreError(
                f"A stored record cannot be read ({text[:60]!r}…). It was damaged, or written by a newer opsbot."
            ) from error


def _plain(value: object) -> object:
    """Turn what pydantic does not know into what it does: mappings other than dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
        case _:
            return value


# The tags are part of the stored format: a class may be renamed, its tag may not.
MESSAGES: Codec[Message] = Codec({"user": UserMessage, "assistant": AssistantMessage, "result": ToolResult})
EVENTS: Codec[Incoming] = Codec(
    {
        "message": IncomingMessage,
        "command": IncomingCommand,
        "decision": IncomingDecision,
        "stop": IncomingStop,
        "report_click": IncomingReportClick,
        "report_edit": IncomingReportEdit,
    }
)
CONTENTS: Codec[Content] = Codec({"text": Text, "report": Report, "card": Card, "incident": IncidentCard})
APPROVALS: Codec[Approval] = Codec({"approval": Approval})
COMPACTIONS: Codec[Compaction] = Codec({"compaction": Compaction})
HOLDS: Codec[Hold] = Codec({"hold": Hold})
REPORTS: Codec[IncidentReport] = Codec({"report": IncidentReport})
INCIDENTS: Codec[Incident] = Codec({"incident": Incident})
PLACES: Codec[Place] = Codec({"place": Place})
REFS: Codec[MessageRef] = Codec({"ref": MessageRef})
