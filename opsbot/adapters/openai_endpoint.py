"""An endpoint of the OpenAI kind: which of the two APIs it speaks, and which optional parameters it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import structlog

from opsbot.adapters.openai_format import FormatWay, carries_format, refuses_format
from opsbot.domain import Json
from opsbot.pictures import Developed
from opsbot.ports import ModelRequest

# What pictures are called among the things an endpoint was found to refuse.
VISION = "vision"
OPENAI_URL = "https://api.openai.com/v1"
# Every parameter an endpoint may refuse without making the call useless.
OPTIONAL = (
    "include",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "parallel_tool_calls",
    "prompt_cache_key",
    "reasoning",
    "reasoning_effort",
    "safety_identifier",
    "store",
    "stream_options",
    "strict",
    "temperature",
)
# llm.md section 3, the SDK's model notes and openai-openapi#541, November 2026: on chat completions these refuse
# tools with any reasoning effort but "none", the first group even when none is given.
_EFFORT_MUST_BE_NONE = re.compile(r"(?:.*/)?gpt-(?:5\.6|6)(?:[.-].*)?")
_EFFORT_NONE_IF_GIVEN = re.compile(r"(?:.*/)?gpt-5\.[45](?:[.-].*)?")
# Structured-output subset that strict tools may use (OpenAI documentation, November 2026).
_STRICT_SHAPE = {"type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const"}
_STRICT_LIMITS = {"minItems", "maxItems", "minimum", "maximum", "pattern", "description", "title"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model, where, and how to ask it. `base_url` "" is OpenAI's own; `api_key` "" is for keyless servers."""

    model: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    api: Literal["auto", "responses", "chat"] = "auto"
    max_output_tokens: int = 2000
    temperature: float | None = None
    reasoning_effort: str | None = None
    salvage: bool = False
    read_timeout_s: float = 60.0
    total_timeout_s: float = 120.0
    azure_api_version: str = ""
    vision: bool = True
    # Whether it makes vectors and does not talk; then errors are told as of that.
    embeds: bool = False

    @property
    def service(self) -> str:
        """What people call the service behind this endpoint."""
        return "embedding service" if self.embeds else "model's service"

    @property
    def speaker(self) -> str:
        """What answers there."""
        return "embedding service" if self.embeds else "model"

    def setting(self, name: str) -> str:
        """Name a setting of this endpoint, for the operator."""
        return f"`runbooks.{name}`" if self.embeds else f"`{name}`"

    @property
    def url(self) -> str:
        """The base URL to use: a bare Azure resource gets the path of its current API."""
        url = (self.base_url or OPENAI_URL).rstrip("/")
        if self.is_azure and not self.azure_api_version and not urlsplit(url).path:
            return f"{url}/openai/v1/"
        return url

    @property
    def host(self) -> str:
        """Where the model is, fit to be shown: no path, no credentials."""
        return urlsplit(self.base_url or OPENAI_URL).hostname or "the configured address"

    @property
    def is_azure(self) -> bool:
        return self.host.endswith(".azure.com")

    @property
    def first_party(self) -> bool:
        """Whether OpenAI or Azure answers, so that parameters only they know may be sent."""
        return self.is_azure or self.host == "api.openai.com" or self.host.endswith(".api.openai.com")

    @property
    def kind(self) -> str:
        """What is behind the address: openai, azure or compatible."""
        return "azure" if self.is_azure else "openai" if self.first_party else "compatible"

    @property
    def wire(self) -> Literal["responses", "chat"]:
        if self.api == "auto":
            return "responses" if self.first_party else "chat"
        return self.api


class Capabilities:
    """What one endpoint takes: the adapter's assumptions, corrected by every refusal that names a parameter."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._refused: set[str] = set()
        self.max_tokens_name = "max_completion_tokens" if settings.first_party else "max_tokens"
        self.system_role = "developer" if settings.first_party else "system"
        self.format_way = FormatWay.JSON_SCHEMA
        self.tools_need_no_effort = bool(_EFFORT_MUST_BE_NONE.fullmatch(settings.model))

    def take(
        self,
        refused: frozenset[str],
        *,
        max_tokens_name: str,
        system_role: str,
        format_way: FormatWay,
        tools_need_no_effort: bool,
    ) -> None:
        """Take over what was learned of this endpoint earlier."""
        self._refused = set(refused)
        self.max_tokens_name = max_tokens_name
        self.system_role = system_role
        self.format_way = format_way
        self.tools_need_no_effort = tools_need_no_effort

    @property
    def refused(self) -> frozenset[str]:
        """Parameters found to be refused, for a person who asks what was learned."""
        return frozenset(self._refused)

    def accepted(self, optional: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the optional parameters that have a value and were not refused."""
        return {k: v for k, v in optional.items() if v not in (None, "") and k not in self._refused}

    def strict(self, schema: Mapping[str, Json]) -> bool:
        """Whether a tool of this schema is declared strict."""
        return self._settings.first_party and "strict" not in self._refused and is_strict(schema)

    def pictures(self, request: ModelRequest) -> Mapping[str, Developed]:
        """The pictures to send along: none where the model is known not to look at any."""
        return request.pictures if self.looks_at_pictures else {}

    @property
    def looks_at_pictures(self) -> bool:
        """Whether pictures are worth sending: maybe, until they were refused."""
        return self._settings.vision and VISION not in self._refused

    @property
    def unseen(self) -> str:
        """Why a picture is not sent along, for the model."""
        return "not sent along any more" if self.looks_at_pictures else "you cannot look at pictures"

    def go_blind(self) -> None:
        """Send no pictures from now on: the endpoint refused them."""
        self._refused.add(VISION)
        log.warning("model.pictures_refused", host=self._settings.host, model=self._settings.model)

    def chat_effort(self, *, tools: bool) -> str | None:
        """The reasoning effort for a chat completion: with tools, some models take none but "none"."""
        configured = self._settings.reasoning_effort
        if not tools:
            return configured
        if self.tools_need_no_effort or (configured and _EFFORT_NONE_IF_GIVEN.fullmatch(self._settings.model)):
            return "none"
        return configured

    def unlearn(self, body: Mapping[str, Any], parameter: str, message: str) -> bool:
        """Drop what a refusal names. True: the same call may now succeed."""
        name = self._named(body, parameter, message)
        if not name:
            return False
        match name:
            case "developer":
                self.system_role = "system"
            case "answer_format":
                self.format_way = self.format_way.next
            case "max_tokens" | "max_completion_tokens":
                self._refuse_limit(name)
            case "reasoning_effort" if body.get("tools") and body.get(name) != "none":
                self.tools_need_no_effort = True
            case _:
                self._refused.add(name)
        log.warning("model.parameter_refused", host=self._settings.host, model=self._settings.model, parameter=name)
        return True

    def _refuse_limit(self, name: str) -> None:
        other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}[name]
        self._refused.add(name)
        if other not in self._refused:
            self.max_tokens_name = other

    def _named(self, body: Mapping[str, Any], parameter: str, message: str) -> str:
        """Return the sent parameter that the refusal is about; what `param` says goes before the message's words."""
        sent = [name for name in OPTIONAL if name in body]
        if "'strict': True" in str(body.get("tools")):
            sent.append("strict")
        for text in (parameter, message):
            if text == message and self._is_about_role(text, body):
                return "developer"
            if carries_format(body) and refuses_format(text):
                return "answer_format"
            for name in sent:
                # A bare "include" or "store" may be an ordinary word of the message; a parameter's name is quoted.
                quote = r"['\"`]" if text == message and "_" not in name else ""
                if re.search(rf"{quote}(?<!\w){name}(?!\w){quote}", text):
                    return name
        if "strict" in sent and re.search(r"tools\[\d+\]\S*parameters", parameter):
            return "strict"
        return "developer" if self._is_about_role(parameter, body) else ""

    def _is_about_role(self, text: str, body: Mapping[str, Any]) -> bool:
        if self.system_role != "developer" or "messages" not in body:
            return False
        return "developer" in text or bool(re.search(r"messages\[0\]\.role", text))


def is_strict(schema: Json | Mapping[str, Json]) -> bool:
    """Whether a schema already is of the strict kind: closed objects, everything required, known keywords only."""
    if not isinstance(schema, Mapping):
        return False
    if not set(schema) <= _STRICT_SHAPE | _STRICT_LIMITS:
        return False
    properties = schema.get("properties")
    if isinstance(properties, Mapping):
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if set(required) != set(properties) or not all(is_strict(value) for value in properties.values()):
            return False
    items, options = schema.get("items"), schema.get("anyOf")
    if items is not None and not is_strict(items):
        return False
    return options is None or (isinstance(options, list) and all(is_strict(option) for option in options))
