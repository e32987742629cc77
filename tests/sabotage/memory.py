"""Defences of long conversations and outputs, to take out one by one."""

from tests.sabotage.copy import Change, Sabotage

_COMPACTION = "tests/unit/test_compaction.py"
_KEEPING = "tests/unit/test_keeping.py"
_LONG = "tests/scenario/test_long_conversations.py"
_STORED = "tests/contract/test_store_outputs.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


MEMORY: tuple[Sabotage, ...] = (
    _one(
        "compaction: calls that wait are folded away",
        "compaction.py",
        "                if last > following:",
        "                if False:",
        _COMPACTION,
        _LONG,
    ),
    _one(
        "compaction: the newest question is folded away",
        "compaction.py",
        "found = {question} if question < cut else set()",
        "found: set[int] = set()",
        _COMPACTION,
    ),
    _one(
        "compaction: results of actions are shortened",
        "compaction.py",
        "at < compaction.shortened and at not in whole",
        "at < compaction.shortened",
        _COMPACTION,
    ),
    _one(
        "compaction: a step makes no room",
        "condensing.py",
        "return Room(left, left // 2)",
        "return Room(left, left)",
        _LONG,
    ),
    _one(
        "summary: requests are left out",
        "recollection.py",
        'return "\\n".join(map(_request, approvals))',
        'return "" if approvals else ""',
        _LONG,
    ),
    _one(
        "outputs: another thread's can be read",
        "adapters/store/outputs.py",
        "where(_rows.conversation_id == conversation_id, _rows.ref == ref)",
        "where(_rows.ref == ref)",
        _STORED,
    ),
    _one(
        "outputs: a reset keeps them",
        "adapters/store/conversations.py",
        "            connection.execute(delete(schema.outputs)"
        ".where(schema.outputs.c.conversation_id == conversation.id))\n",
        "",
        _STORED,
    ),
    _one(
        "outputs: kept as they came",
        "keeping.py",
        "self.intake.whole(bounded(laid_out(bounded(content, _RAW_MAX_CHARS))))",
        "bounded(laid_out(bounded(content, _RAW_MAX_CHARS)))",
        _KEEPING,
    ),
    _one(
        "outputs: what is read of them is trusted",
        "keeping.py",
        "self.intake.result(call.call_id, answer, untrusted=output.untrusted)",
        "self.intake.result(call.call_id, answer, untrusted=False)",
        _KEEPING,
    ),
    _one(
        "outputs: a reading has no bound",
        "outputs.py",
        "        if size > PIECE_CHARS and shown:",
        "        if False:",
        "tests/unit/test_outputs.py",
    ),
    _one(
        "threads: further lines pass for another person's",
        "threads.py",
        'indented = "\\n  ".join(text.splitlines())',
        'indented = "\\n".join(text.splitlines())',
        "tests/unit/test_threads.py",
    ),
    _one(
        "threads: as much is told as there is",
        "threads.py",
        "        if left < 0:",
        "        if False:",
        "tests/unit/test_threads.py",
    ),
    _one(
        "threads: taken as they come",
        "overhearing.py",
        "text=self.intake.text(said.text)",
        "text=said.text",
        "tests/scenario/test_late_mentions.py",
    ),
    _one(
        "threads: there is no end of calls",
        "adapters/slack/thread_reader.py",
        "                if self._calls >= _CALLS:",
        "                if False:",
        "tests/unit/test_thread_reader.py",
    ),
    _one(
        "taint: threads leave no mark",
        "taint.py",
        "if message.call_id in (THREAD, POINTED_AT):\n                    yield OTHERS\n                elif",
        "if",
        "tests/scenario/test_late_mentions.py",
    ),
    _one(
        "taint: a message pointed at leaves no mark",
        "taint.py",
        "message.call_id in (THREAD, POINTED_AT)",
        "message.call_id == THREAD",
        "tests/scenario/test_investigate.py",
    ),
    _one(
        "notes: others' words are trusted",
        "intake.py",
        "return ToolResult(note_id, text, nonce=_nonce(text), untrusted=True)",
        "return ToolResult(note_id, text, nonce=_nonce(text))",
        "tests/unit/test_intake.py",
    ),
    _one(
        "notes: a call may pass for one",
        "hearing.py",
        "    used |= INTRODUCTIONS.keys()\n",
        "",
        "tests/scenario/test_edges.py",
    ),
)
