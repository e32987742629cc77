"""The model that is none: plain requests understood by likeness and exact names, for a bot without a language model."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from uuid import uuid4

from opsbot.adapters.keyless_examples import Intent
from opsbot.adapters.keyless_router import Router, best_router
from opsbot.adapters.keyless_slots import Names, Slots, bare, neutral, only_names, read
from opsbot.adapters.keyless_topics import Topic, topic_of
from opsbot.adapters.keyless_words import summary
from opsbot.domain import AssistantMessage, Host, Json, Message, ToolCall, ToolResult, Usage, UserMessage
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta, ToolSpec
from opsbot.taint import PASTED_ALERT

NOTICE = (
    "_No language model is configured, so I match plain requests against examples and never guess names. "
    "Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` and start me again for free conversation._"
)
HELP = (
    "Without a language model I understand plain requests like these (`help` shows them again):\n"
    "- `how is this machine?`, `how are my servers?`, `status of HOST`\n"
    "- `list hosts`\n"
    "- `is SERVICE running on HOST?`, `services on HOST`\n"
    "- `logs of SERVICE on HOST`, `last 20 lines of the SERVICE log on HOST`\n"
    "- `what changed on HOST?`, `ports on HOST`, `top processes on HOST`, `updates for HOST`, `compare HOST and HOST`\n"
    "- `memory history of HOST`, `since when is the disk of HOST full?`, `outages of HOST in the last 3 days`\n"
    "- `runbook for a full disk`, `past incidents like …`\n"
    "- `restart SERVICE on HOST`, also start, stop and reload; `reboot HOST` (people approve it first)\n"
    "HOST is a server, a group or `all`, spelled as in `list hosts`."
)
_WHO = (
    "I am opsbot, the on-call engineer's teammate: I look at servers, and act on services once a person has approved "
    "it. Nobody at the other end but code: no language model is configured."
)
_RESTART = re.compile(r"(?:restart|bounce|recycle|(?:do|perform|trigger|make) an? restart of)\b|kick (?!off\b)")
_NEEDS_RESTART = re.compile(r"\b(?:needs?|wants?) (?:a |to be )?restart(?:ed|ing)?\b")
_VERB = re.compile(r"(start|stop|reload|reboot)\b(?! of\b)")
_VERBS = {"start": Intent.START, "stop": Intent.STOP, "reload": Intent.RELOAD, "reboot": Intent.REBOOT}
_WRITES = {
    Intent.RESTART: "restart_service",
    Intent.START: "start_service",
    Intent.STOP: "stop_service",
    Intent.RELOAD: "reload_service",
}
_NOT = re.compile(r"\b(?:don'?t|do not|never|not to|no need to|without)\b")
_POLITE = re.compile(
    r"^(?:(?:hey|hi|hello|ok|okay|so|and|now|then|please|pls|kindly|just|opsbot|bot|go ahead and|let'?s|"
    r"(?:can|could|would|will) you|i (?:want|need|would like|'d like) you to|we need to|"
    r"you (?:should|must|can|may))[,:!]? +)+"
)
_BEYOND = re.compile(
    r"(?:shut ?down|power ?off|kill|terminate|delete|remove|erase|wipe|drop|clear|install|uninstall|"
    r"upgrade|update|patch|deploy|roll ?back|enable|disable|mask|scale|drain|execute|exec|edit|change|"
    r"run(?! (?:the |all )*(?:health|http|tcp|dns) checks?)|open(?! ports)|"
    r"create|add|move|copy|chmod|sudo|rm|format|mount|unmount|block|ban|reset|fix|repair|close|clean)\b(?! of\b)"
)
# Requests that only look; the others are never turned into something else by a word in them.
_READS = frozenset((Intent.STATUS, Intent.HOSTS, Intent.SERVICE, Intent.LOGS, Intent.UNCLEAR))
_TALK = frozenset((Intent.GREETING, Intent.THANKS, Intent.WHO, Intent.HELP))
# What was written down, and by which tool it is searched; the question is what follows, if anything does.
_WRITTEN = (
    ("search_runbooks", re.compile(r"\b(?:runbooks?|playbooks?)\b(?:\s+(?:says?|is there|for|about|on|to|of|how))*")),
    (
        "similar_incidents",
        re.compile(r"\b(?:similar|past|previous|earlier) incidents?\b(?:\s+(?:to|like|with|about|of))*"),
    ),
)
_QUESTION_CHARS = 500
_NAMES_SHOWN = 12
_QUESTION = "Which "


@dataclass(frozen=True, slots=True)
class _Call:
    """A tool to call."""

    tool: str
    arguments: dict[str, Json]


class KeylessModel:
    """A ChatModel without a model: deterministic, offline, and plain about what it is.

    `hosts` and `groups` return the inventory as it is now. `router` is chosen by what is installed if not given.
    """

    def __init__(
        self,
        hosts: Callable[[], Sequence[Host]],
        groups: Callable[[], Mapping[str, tuple[str, ...]]],
        *,
        router: Router | None = None,
    ) -> None:
        self._hosts = hosts
        self._groups = groups
        self._given_router = router

    @property
    def name(self) -> str:
        return "no model (keyless)"

    async def close(self) -> None:
        """Nothing is held."""

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Answer at once; see `ChatModel`. Never raises."""
        answer = self._answer(request)
        if isinstance(answer, _Call):
            yield ToolCall(f"call_{uuid4().hex[:16]}", answer.tool, json.dumps(answer.arguments, ensure_ascii=False))
        else:
            for piece in re.findall(r"[^\n]*\n*", _with_notice(answer, request.messages)):
                if piece:
                    yield TextDelta(piece)
        yield Usage()
        yield Done("tool_calls" if isinstance(answer, _Call) else "stop")

    @cached_property
    def _router(self) -> Router:
        return self._given_router or best_router()

    def _answer(self, request: ModelRequest) -> _Call | str:
        results = _newest_results(request.messages)
        if results:
            calls = {c.call_id: c.tool for m in request.messages if isinstance(m, AssistantMessage) for c in m.calls}
            return summary(results, calls)
        names = Names(self._hosts(), self._groups())
        tools = {spec.name: spec for spec in (*request.tools, *request.deferred)}
        text = _last_words(request.messages)
        if (asked := _asked_about(request.messages)) and only_names(text, names):
            text = f"{asked} {text}"
        intent, slots = self._understood(text, names)
        plan = _Plan(names, tools)
        words = neutral(text.lower(), slots)
        if intent in _READS | _TALK and not _NOT.match(words) and (written := _written(text, plan)):
            return written
        named = bool(slots.hosts or slots.here)
        if (intent in _READS or (intent in _TALK and named)) and not _NOT.match(words) and (topic := topic_of(words)):
            return _on_topic(topic, slots, text.lower(), plan)
        return _planned(intent, slots, text, plan)

    def _understood(self, text: str, names: Names) -> tuple[Intent, Slots]:
        slots = read(text, names)
        words = _POLITE.sub("", f"{text.lower().strip()} ").strip()
        if _RESTART.match(words) or _NEEDS_RESTART.search(words):
            return (Intent.UNCLEAR if _NOT.search(words) else Intent.RESTART), slots
        if verb := _VERB.match(words):
            return (Intent.UNCLEAR if _NOT.search(words) else _VERBS[verb.group(1)]), slots
        if _BEYOND.match(words):
            return Intent.BEYOND, slots
        intent = self._router.route(neutral(words or text, slots))
        return _settled(intent, slots, words), slots


def _settled(intent: Intent, slots: Slots, words: str) -> Intent:
    """Names decide between a server and a service where likeness cannot; a bare name is no request."""
    if _NOT.match(words):
        return Intent.UNCLEAR
    named_service = bool(slots.units or slots.free_units)
    if intent is Intent.GREETING and slots.hosts:
        return Intent.STATUS
    if intent is Intent.STATUS and named_service:
        return Intent.SERVICE
    if intent is Intent.SERVICE and not named_service and not re.search(r"\b(?:services?|units?)\b", words):
        return Intent.STATUS
    return intent


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a request is planned with: the names and tools there are."""

    names: Names
    tools: Mapping[str, ToolSpec]

    def call(self, tool: str, **arguments: Json) -> _Call | str:
        """Call the tool with those arguments it takes, if it is there at all."""
        if tool not in self.tools:
            return (
                f"I would need the tool `{tool}` for that, and it is not loaded here. `help` shows what I understand."
            )
        properties = self.tools[tool].schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        return _Call(tool, {key: value for key, value in arguments.items() if key in known and value is not None})


def _planned(intent: Intent, slots: Slots, text: str, plan: _Plan) -> _Call | str:
    match intent:
        case Intent.GREETING:
            return "Hello! Ask me how your servers are, or say `help`."
        case Intent.THANKS:
            return "You are welcome."
        case Intent.WHO:
            return f"{_WHO}\n\n{HELP}"
        case Intent.HELP:
            return HELP
        case Intent.BEYOND:
            return f"That I cannot do: I look at servers, and act on services and hosts as below.\n\n{HELP}"
        case Intent.UNCLEAR:
            return f"I did not understand that.\n\n{HELP}"
        case Intent.HOSTS:
            return plan.call("list_hosts")
        case Intent.REBOOT:
            return _reboot(slots, plan)
        case Intent.STATUS | Intent.SERVICE | Intent.LOGS | Intent.RESTART | Intent.START | Intent.STOP | Intent.RELOAD:
            return _stranger(intent, slots, plan.names) or _about_hosts(intent, slots, text.lower(), plan)


def _written(text: str, plan: _Plan) -> _Call | str:
    """Look a question about runbooks or past incidents up; "" if it is none."""
    for tool, pattern in _WRITTEN:
        if match := pattern.search(text.lower()):
            rest = text[match.end() :].strip(" ?!.:")
            about = rest or pattern.sub(" ", text.lower()).strip(" ?!.:")
            if len(about) < 2:
                return "What should I look for? For example: `runbook for a full disk`"
            return plan.call(tool, query=about[:_QUESTION_CHARS])
    return ""


def _on_topic(topic: Topic, slots: Slots, text: str, plan: _Plan) -> _Call | str:
    if stranger := _stranger(Intent.STATUS, slots, plan.names):
        return stranger
    hosts = _named_hosts(slots, plan.names) or _only(plan.names)
    if not hosts:
        return _which_host(plan.names)
    unit = slots.units[0] if len(slots.units) == 1 else None
    return plan.call(topic.tool, hosts=[*hosts], unit=unit, **topic.arguments)


def _reboot(slots: Slots, plan: _Plan) -> _Call | str:
    """Only hosts that the sentence names one by one: never a group's or all by a slip of the tongue."""
    if stranger := _stranger(Intent.STATUS, slots, plan.names):
        return stranger
    named = [name for name in slots.hosts if name in {host.name for host in plan.names.hosts}]
    if not named or slots.everything or len(named) < len(slots.hosts):
        return _which_host(plan.names)
    return plan.call("reboot_host", hosts=[*named])


def _about_hosts(intent: Intent, slots: Slots, text: str, plan: _Plan) -> _Call | str:
    hosts: Sequence[Json]
    match intent:
        case Intent.STATUS:
            hosts = _hosts_for_status(slots, text, plan.names)
            return plan.call("server_status", hosts=[*hosts]) if hosts else _which_host(plan.names)
        case Intent.SERVICE if not (slots.units or slots.free_units):
            hosts = _named_hosts(slots, plan.names) or _only(plan.names)
            if not re.search(r"\bservices\b|\bunits\b", text):
                return _which_service(intent, slots, plan.names)
            return plan.call("service_status", hosts=[*hosts]) if hosts else _which_host(plan.names)
    units = (*slots.units, *slots.free_units)
    if len(units) != 1:
        return _which_service(intent, slots, plan.names)
    unit = units[0]
    hosts = _hosts_for_unit(intent, unit, slots, plan.names)
    if not hosts:
        return _which_host(plan.names, unit)
    if intent in _WRITES:
        return plan.call(_WRITES[intent], hosts=[*hosts], unit=unit)
    if intent is Intent.LOGS:
        return plan.call("service_logs", hosts=[*hosts], unit=unit, lines=slots.lines)
    return plan.call("service_status", hosts=[*hosts], unit=unit)


def _stranger(intent: Intent, slots: Slots, names: Names) -> str:
    """Ask about names that do not exist, with those that look like them; "" if there is nothing to ask."""
    if slots.unknown:
        return f"{_no_such(slots.unknown[0], names)} `list hosts` shows them all."
    for unit in slots.free_units:
        near = [name for name in names.near(unit) if name in {bare(known) for known in names.units}]
        if near:
            return f"I know no service `{unit}`. Did you mean {_either(near)}? Please say it again with the name."
        if intent in _WRITES:
            known = [bare(name) for name in names.units]
            return f"No server lets me {intent} `{unit}`. Which service do you mean: {_either(known) or 'none may be'}?"
    return ""


def _no_such(name: str, names: Names) -> str:
    near = [known for known in names.near(name) if known in names.places]
    if near:
        return f"There is no server or group `{name}`. Did you mean {_either(near)}? Please say it again with the name."
    return f"There is no server or group `{name}`. Which one do you mean: {_either(names.places)}?"


def _named_hosts(slots: Slots, names: Names) -> Sequence[str]:
    """Hosts that the sentence itself names."""
    if slots.hosts:
        return slots.hosts
    if slots.here and len(names.local()) == 1:
        return names.local()
    return ("all",) if slots.everything else ()


def _hosts_for_status(slots: Slots, text: str, names: Names) -> Sequence[str]:
    if named := _named_hosts(slots, names):
        return named
    if only := _only(names):
        return only
    # "it" and "the server" point at one server without naming it; anything else is about them all.
    points = slots.here or re.search(r"\b(?:it|that|the (?:server|host|machine|box))\b", text)
    return () if points else ("all",)


def _hosts_for_unit(intent: Intent, unit: str, slots: Slots, names: Names) -> Sequence[str]:
    if slots.hosts or slots.here:
        return _named_hosts(slots, names)
    if slots.everything:
        return () if intent in _WRITES else ("all",)  # never narrowed, and never a write on all without names
    allowing = names.allowing(unit)
    if len(allowing) == 1:
        return allowing
    return () if intent in _WRITES else _only(names)


def _only(names: Names) -> Sequence[str]:
    return (names.hosts[0].name,) if len(names.hosts) == 1 else ()


def _which_host(names: Names, unit: str = "") -> str:
    allowing = names.allowing(unit) if unit else ()
    about = f" for `{unit}`" if unit else ""
    return f"{_QUESTION}server{about}: {_either(allowing or names.places) or 'none is configured'}?"


def _which_service(intent: Intent, slots: Slots, names: Names) -> str:
    there = [host for host in names.hosts if host.name in _members(slots, names)] or names.hosts
    known = list(dict.fromkeys(bare(unit) for host in there for unit in host.units))
    may = f"I may {intent}" if intent in _WRITES else "for example"
    listed = f" ({may} {_either(known)})" if known else ""
    return f"{_QUESTION}service{listed}, and on which server? For example: `{_example(intent)}`"


def _example(intent: Intent) -> str:
    if intent in _WRITES:
        return f"{intent} SERVICE on HOST"
    return "logs of SERVICE on HOST" if intent is Intent.LOGS else "is SERVICE running on HOST?"


def _members(slots: Slots, names: Names) -> set[str]:
    return {member for name in slots.hosts for member in names.groups.get(name, (name,))}


def _either(values: Sequence[str]) -> str:
    shown = [f"`{value}`" for value in values[:_NAMES_SHOWN]]
    if len(values) > _NAMES_SHOWN:
        return ", ".join(shown) + f" or {len(values) - _NAMES_SHOWN} more"
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def _newest_results(messages: Sequence[Message]) -> list[ToolResult]:
    """Results that arrived since anybody last said something."""
    newest: list[ToolResult] = []
    for message in reversed(messages):
        if not isinstance(message, ToolResult):
            break
        newest.insert(0, message)
    return newest


def _last_words(messages: Sequence[Message]) -> str:
    said = next((message.text for message in reversed(messages) if isinstance(message, UserMessage)), "")
    # Of an alert the words above it are matched, not the alert.
    return said.partition(PASTED_ALERT)[0].strip()


def _asked_about(messages: Sequence[Message]) -> str:
    """Return what the person had said when our last words were a question about it, else ""."""
    said = [m for m in messages if isinstance(m, UserMessage) or (isinstance(m, AssistantMessage) and m.text)]
    match said[-3:]:
        case [UserMessage(text=before), AssistantMessage(text=question), UserMessage()]:
            return before if question.startswith(_QUESTION) else ""
    return ""


def _with_notice(text: str, messages: Sequence[Message]) -> str:
    told = any(isinstance(message, AssistantMessage) and NOTICE in message.text for message in messages)
    return text if told else f"{text}\n\n{NOTICE}"
