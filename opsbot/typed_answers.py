"""Answers of the model that code reads: asked for in a form, checked, asked for once more, or clearly refused."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from opsbot.domain import Actor, AssistantMessage, UserMessage
from opsbot.errors import ModelMisbehaved
from opsbot.hearing import Heard
from opsbot.metering import Account, Meter
from opsbot.ports import ChatModel, ModelRequest

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_ANSWER_CHARS = 100_000
_FAULTS_MAX = 8
_SHOWN_CHARS = 200
# Who tells the model what is wrong with its answer: no account of a person can have this name.
_OPSBOT: Final = Actor("", "opsbot")

log = structlog.get_logger(__name__)


class Unfit(Exception):
    """An answer does not fit its form: every fault, in words for the model and for people."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults[:_FAULTS_MAX]))
        self.faults = tuple(faults[:_FAULTS_MAX])


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks the model what code reads, within the budgets."""

    model: ChatModel
    meter: Meter

    async def ask(self, request: ModelRequest, account: Account, read: Callable[[str], T]) -> T:
        """Return what was read of the answer; one that is unfit is asked for once more, with its faults.

        Raises:
            ModelError: the model cannot be asked, would not answer, or both answers were unfit; the text says which.
        """
        try:
            answer = await self._answer(request, account)
            try:
                return _read(answer, read)
            except Unfit as unfit:
                log.info("answer.unfit", form=_name(request), faults=len(unfit.faults))
                request = _once_more(request, answer, unfit)
            answer = await self._answer(request, account)
            try:
                return _read(answer, read)
            except Unfit as unfit:
                log.warning("answer.unfit_again", form=_name(request), faults=unfit.faults)
                raise ModelMisbehaved(f"The model's answer was not usable, also when asked again: {unfit}.") from unfit
        finally:
            await self.meter.flush()

    async def _answer(self, request: ModelRequest, account: Account) -> Heard:
        await self.meter.check(account)
        heard = Heard()
        try:
            async for event in self.model.reply(request):
                heard.take(event)
        finally:
            self.meter.note(account, request, heard)
        _check_answered(heard)
        return heard


def read_object(form: type[M], text: str) -> M:
    """Read an answer that is one JSON object, with or without a code fence around it. Raises Unfit."""
    if len(text) > _ANSWER_CHARS:
        raise Unfit([f"the answer is too long ({len(text):,} characters)"])
    try:
        found = json.loads(_unfenced(text), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        what = "it is a web page" if text.lstrip().startswith("<") else "it cannot be read"
        raise Unfit([f"the answer is not one JSON object: {what}"]) from error
    if not isinstance(found, dict):
        raise Unfit(["the answer is not one JSON object"])
    try:
        return form.model_validate(found)
    except ValidationError as error:
        raise Unfit([_fault(fault) for fault in error.errors(include_url=False, include_input=False)]) from error


def _read(heard: Heard, read: Callable[[str], T]) -> T:
    if heard.done is not None and heard.done.reason == "length":
        raise Unfit(["the answer was cut at its length limit; say it in fewer words"])
    return read(heard.text)


def _check_answered(heard: Heard) -> None:
    """Raise ModelMisbehaved where asking again cannot help."""
    done = heard.done
    if done is None:
        raise ModelMisbehaved("The model's answer broke off. Nothing in it was used; try again.")
    if done.refused:
        said = " ".join(heard.text.split())[:_SHOWN_CHARS]
        raise ModelMisbehaved(f"The model refused to answer: “{said}”")
    if done.reason == "content_filter":
        raise ModelMisbehaved("The model's service held the answer back (content filter). Nothing in it was used.")
    if done.reason not in ("stop", "length"):
        raise ModelMisbehaved("The model called tools instead of answering. Nothing was run; try again.")


def _once_more(request: ModelRequest, heard: Heard, unfit: Unfit) -> ModelRequest:
    """Return the request with the unfit answer, what is wrong with it, and the form in words."""
    form = request.answer_format.in_words if request.answer_format else ""
    faults = "\n".join(f"- {fault}" for fault in unfit.faults)
    at = next(message.at for message in reversed(request.messages) if isinstance(message, UserMessage))
    told = UserMessage(f"That answer cannot be used:\n{faults}\nAnswer again, in whole. {form}", _OPSBOT, at)
    said = AssistantMessage(heard.text[:_ANSWER_CHARS] or "(nothing)")
    return replace(request, messages=(*request.messages, said, told))


def _name(request: ModelRequest) -> str:
    return request.answer_format.name if request.answer_format else ""


def _unfenced(text: str) -> str:
    inner = text.strip()
    if inner.startswith("```") and inner.endswith("```"):
        inner = inner[3:-3].removeprefix("json")
    return inner


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _fault(fault: Any) -> str:
    where = " ".join(str(part + 1) if isinstance(part, int) else str(part)[:40] for part in fault["loc"])
    return f"{where}: {fault['msg'][:120]}"
