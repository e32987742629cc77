"""`opsbot doctor` on the model: one tiny question that can only be answered by calling a function."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

from opsbot.adapters.doctor_edges import run_async
from opsbot.adapters.openai_doctor import shutdown_day
from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_errors import Said, TryFailed
from opsbot.adapters.openai_memory import said
from opsbot.adapters.openai_model import OpenAIModel
from opsbot.adapters.prices import KnownPrices
from opsbot.diagnosis import Area, Check, Finding, Subject
from opsbot.domain import Actor, ToolCall, Usage, UserMessage
from opsbot.endpoints import Learned
from opsbot.errors import ModelError, StoreError
from opsbot.ports import Done, ModelRequest, TextDelta, ToolSpec
from opsbot.spending import Price, money

_WORD = "ready"
_TOOL = ToolSpec(
    "report_word",
    "Report the word the person asks for.",
    {
        "type": "object",
        "properties": {"word": {"type": "string", "description": "The word."}},
        "required": ["word"],
        "additionalProperties": False,
    },
)
_SYSTEM = "You are being tested. Answer only by calling the function report_word, exactly once."
_OF_STATUS = {
    400: (Check.REQUEST, "Compare `model.api`, `temperature` and `reasoning_effort` with what this model takes."),
    401: (Check.KEY, "Put a valid key where `model.api_key` points."),
    403: (Check.KEY, "Give the key's project access to this model, or use another key."),
    404: (Check.MODEL, "Correct `model.name` and `model.base_url` (it ends in /v1 for most servers)."),
    422: (Check.REQUEST, "Compare `model.api`, `temperature` and `reasoning_effort` with what this model takes."),
    429: (Check.LIMITS, "Wait and try again; if it stays, raise the account's limit or credit."),
}


@dataclass(slots=True)
class _Heard:
    """What came back."""

    first_s: float = 0.0
    total_s: float = 0.0
    events: int = 0
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    done: bool = False


@dataclass(frozen=True, slots=True)
class ModelDoctor:
    """Checks one endpoint and one model. `money`: the settings of budgets that need its price; `own`: such prices.

    `recall` returns what the bot has learned of the endpoint.
    """

    settings: ModelSettings
    money: tuple[str, ...] = ()
    own: Mapping[str, Price] = field(default_factory=dict)
    recall: Callable[[], Learned | None] = lambda: None

    @property
    def subject(self) -> Subject:
        """The model and where it is."""
        return Subject(Area.MODEL, f"{self.settings.model} at {self.settings.host}")

    def check(self, timeout_s: float) -> Iterator[Finding]:
        """Yield what is found, within about `timeout_s`; it costs some 300 tokens."""
        if day := shutdown_day(self.settings.model):
            yield switched_off(self.subject, day, datetime.now(UTC).date())
        if self.money:
            yield self._price()
        yield from self._learned()
        yield from run_async(self._asked(timeout_s))

    def _learned(self) -> Iterator[Finding]:
        """What the bot leaves out since the endpoint refused it; nothing where nothing was refused."""
        try:
            known = said(self.recall(), self.settings, datetime.now(UTC))
        except StoreError:
            return  # the store has a doctor of its own
        if known:
            yield self.subject.ok(Check.LEARNED, known)

    def _price(self) -> Finding:
        """Whether the budgets of money can be held."""
        model, settings = self.settings.model, ", ".join(f"`{name}`" for name in self.money)
        cost = KnownPrices(self.settings.url, self.own).cost_nano_usd(model, Usage(1_000_000), datetime.now(UTC))
        if cost is not None:
            return self.subject.ok(Check.PRICE, f"known: {money(cost)} per million tokens read")
        said = f"no price of {model} is known here, so {settings} cannot stop anything"
        return self.subject.warn(Check.PRICE, said, f"Set `model.prices.{model}`, or a budget of tokens.")

    async def _asked(self, timeout_s: float) -> list[Finding]:
        # Ours is the deadline; the adapter's own only must not come before it.
        patient = replace(self.settings, read_timeout_s=timeout_s + 1, total_timeout_s=timeout_s + 1)
        model = OpenAIModel(patient)
        heard, started = _Heard(), time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                await _hear(model, heard, started)
        except TimeoutError:
            return [no_answer(self.subject, heard, timeout_s)]
        except ModelError as error:
            return [refused(self.subject, error, time.monotonic() - started)]
        finally:
            await model.close()
        return answered(self.subject, heard, self.settings.wire)


async def _hear(model: OpenAIModel, heard: _Heard, started: float) -> None:
    question = UserMessage(f'Report the word "{_WORD}".', Actor("doctor", "doctor"), datetime.now(UTC))
    request = ModelRequest(_SYSTEM, (question,), (_TOOL,), prefix_key="doctor", asker="doctor")
    async for event in model.reply(request):
        heard.first_s = heard.first_s or time.monotonic() - started
        heard.events += 1
        match event:
            case TextDelta(text):
                heard.text += text
            case ToolCall():
                heard.calls += (event,)
            case Done():
                heard.done = True
    heard.total_s = time.monotonic() - started


def switched_off(subject: Subject, day: str, today: date) -> Finding:
    """The model's end was announced."""
    past = date.fromisoformat(day) <= today
    make = subject.fail if past else subject.warn
    return make(
        Check.END_OF_LIFE, f"it {'was' if past else 'is'} switched off on {day}", "Choose another `model.name`."
    )


def no_answer(subject: Subject, heard: _Heard, timeout_s: float) -> Finding:
    """The deadline passed, before or within the answer."""
    if heard.events:
        said = f"the answer began after {heard.first_s:.1f} s and had not ended after {timeout_s:g} s"
        return subject.warn(Check.ANSWER, said, "A slow model: give more time with --timeout, or use a smaller one.")
    remedy = "Try `curl` on `model.base_url`/models; a large local model may still be loading: --timeout."
    return subject.fail(Check.ENDPOINT, f"no answer within {timeout_s:g} s", remedy)


def refused(subject: Subject, error: ModelError, took_s: float) -> Finding:
    """Sort an error by who can mend it: by the status the service gave, where it gave one."""
    said = error.__cause__.said if isinstance(error.__cause__, TryFailed) else Said()
    remedy = "Check `model.base_url`, DNS, TLS, proxies, and that the server runs."
    check, remedy = _OF_STATUS.get(said.status, (Check.ENDPOINT, remedy))
    if said.status >= 500:
        check, remedy = Check.ENDPOINT, "The service is failing: try again, and see its status page or its log."
    return subject.fail(check, str(error), remedy, took_s=took_s)


def answered(subject: Subject, heard: _Heard, wire: str) -> list[Finding]:
    """Judge a whole answer: it came as a stream, and as the call that was asked for."""
    api = "Responses API" if wire == "responses" else "Chat Completions API"
    found = [
        subject.ok(Check.ENDPOINT, f"answers by the {api}, key accepted", took_s=heard.total_s),
        subject.ok(Check.STREAMING, f"first event after {heard.first_s:.1f} s, whole after {heard.total_s:.1f} s"),
    ]
    return [*found, function_calling(subject, heard)]


def function_calling(subject: Subject, heard: _Heard) -> Finding:
    """Whether it called the function it was told to call, with arguments that can be read."""
    check = Check.FUNCTION_CALLING
    if not heard.calls:
        remedy = (
            "Use a model and a server with function calling (llama.cpp: --jinja; vLLM: --enable-auto-tool-choice); "
            "`model.salvage: true` takes calls that are written as text."
        )
        return subject.fail(check, "it answered in words instead of calling the function", remedy)
    call = heard.calls[0]
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = None
    if call.tool != _TOOL.name or not isinstance(arguments, dict) or not isinstance(arguments.get("word"), str):
        remedy = "Use a model with reliable function calling: calls that do not fit are refused, and cost a turn each."
        return subject.fail(check, "it called, but not that function with the arguments it asks for", remedy)
    return subject.ok(check, "called the function with fitting arguments")
