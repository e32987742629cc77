"""Answers too long for the model: kept whole in the store, shown by their ends, and read on by `read_output`."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opsbot.domain import AssistantMessage, Conversation, Json, ToolCall, ToolResult, UserMessage
from opsbot.errors import BadArguments
from opsbot.intake import MAX_RESULT_CHARS, Intake, as_json
from opsbot.output_spec import READ_OUTPUT
from opsbot.outputs import LINES_MAX, Output, Outputs, Wanted, bounded, ends, laid_out, numbered, piece
from opsbot.ports import Clock

# What is shown of an output that is kept: half of it from the beginning, half from the end.
_SHOWN_CHARS = 6_000
# A longer answer is cut before anything else is done with it.
_RAW_MAX_CHARS = 32 * 1024 * 1024
_ASKED_CHARS = 200


class _Asked(BaseModel):
    """The arguments of `read_output`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    ref: Annotated[str, Field(max_length=64)]
    grep: Annotated[str, Field(max_length=200)] = ""
    line: Annotated[int, Field(ge=-(10**9), le=10**9)] = 1
    lines: Annotated[int, Field(ge=1, le=LINES_MAX)] = 50


@dataclass(frozen=True, slots=True)
class Keeper:
    """Makes results for the model, and keeps those that are too long for it."""

    outputs: Outputs
    intake: Intake
    clock: Clock

    async def result(
        self, conversation_id: str, call: ToolCall, content: str, *, failed: bool, untrusted: bool
    ) -> ToolResult:
        """Make the result of a call. What is too long is in the store, redacted, before the model hears of it.

        Raises:
            StoreError: it could not be kept.
        """
        if len(content) <= MAX_RESULT_CHARS:
            return self.intake.result(call.call_id, content, failed=failed, untrusted=untrusted)
        text = await asyncio.to_thread(self._taken_in, content)
        result, ref = self._shown(call, text, failed=failed, untrusted=untrusted)
        kept = Output(conversation_id, ref, _asked(call), self.clock.now(), text, untrusted)
        await self.outputs.put(kept)
        return result

    def _taken_in(self, content: str) -> str:
        """Lay it out and redact what becomes visible by that; blocks for as long as that takes."""
        return self.intake.whole(bounded(laid_out(bounded(content, _RAW_MAX_CHARS))))

    def _shown(self, call: ToolCall, text: str, *, failed: bool, untrusted: bool) -> tuple[ToolResult, str]:
        lines = numbered(text)
        head, tail = ends(lines, _SHOWN_CHARS)
        shown = "\n".join([*head, "[LEFT OUT]", *tail])
        made = self.intake.result(call.call_id, shown, failed=failed, untrusted=untrusted)
        first, last = len(head) + 1, len(lines) - len(tail)
        told = (
            f"[{len(lines):,} lines, {len(text):,} characters, kept whole as ref {made.ref} for {READ_OUTPUT}. "
            f"Lines {first:,} to {last:,} are left out below.]\n"
        )
        content = told + made.content
        return ToolResult(made.call_id, content, made.failed, made.nonce, made.untrusted, kept=True), made.ref

    async def read(self, conversation: Conversation, call: ToolCall) -> ToolResult:
        """Answer a call of `read_output`. Raises BadArguments."""
        asked = _parsed(call)
        output = await self._find(conversation, asked.ref)
        texts = tuple(part for part in asked.grep.split("|") if part)
        if asked.grep and not texts:
            raise BadArguments("grep holds no text; leave it out to read lines as they come.")
        wanted = Wanted(texts, asked.line or 1, asked.lines)
        answer = await asyncio.to_thread(_answer, output, wanted)
        return self.intake.result(call.call_id, answer, untrusted=output.untrusted)

    async def _find(self, conversation: Conversation, ref: str) -> Output:
        """Return what the ref names in this conversation: a kept output, or a result in its history."""
        if found := await self.outputs.get(conversation.id, ref):
            return found
        result = next((m for m in conversation.messages if isinstance(m, ToolResult) and m.ref == ref and ref), None)
        if result is None:
            raise BadArguments(f"No output {ref[:64]!a} is kept of this thread (any more); run the tool again.")
        call, at = _origin(conversation, result)
        text = result.content if result.kept else laid_out(result.content)
        return Output(conversation.id, ref, call, at, text, result.untrusted)


def readable_from(conversation: Conversation) -> int | None:
    """Return after how many messages the model was first shown a shortened result; None: it was not."""
    kept = (n for n, m in enumerate(conversation.messages) if isinstance(m, ToolResult) and m.kept)
    first = next(kept, None)
    compaction = conversation.compaction
    if compaction is None:
        return first
    return compaction.messages if first is None else min(first, compaction.messages)


def _parsed(call: ToolCall) -> _Asked:
    try:
        return _Asked.model_validate_json(call.arguments)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}" for fault in error.errors()
        )
        raise BadArguments(f"{READ_OUTPUT} takes ref, grep, line and lines. {faults[:300]}") from error


def _answer(output: Output, wanted: Wanted) -> str:
    found = piece(output.text, wanted)
    total = len(numbered(output.text))
    said: dict[str, Json] = {"of": output.of, "read_at": output.at.isoformat(timespec="seconds"), "total_lines": total}
    if wanted.grep:
        said["matches"] = found.matches
    said["lines"] = [f"{number}: {line}" for number, line in found.shown]
    if found.next_line:
        said["next_line"] = found.next_line
    return as_json(said)


def _asked(call: ToolCall) -> str:
    return f"{call.tool} {call.arguments}"[:_ASKED_CHARS]


def _origin(conversation: Conversation, result: ToolResult) -> tuple[str, datetime]:
    """Return what a result of the history answered, and when the question before it was asked."""
    at = conversation.messages.index(result)
    before = conversation.messages[:at]
    calls = {call.call_id: call for m in before if isinstance(m, AssistantMessage) for call in m.calls}
    asked_at = next((m.at for m in reversed(before) if isinstance(m, UserMessage)), None)
    call = calls.get(result.call_id)
    made = asked_at or next(m.at for m in conversation.messages if isinstance(m, UserMessage))
    return _asked(call) if call else "an earlier result", made
