"""Defences about text of others, on its way in, to the model and to people, to take out one by one and in pairs."""

from tests.sabotage.copy import Change, Sabotage

_INTAKE = "tests/unit/test_intake.py"
_TAINT = "tests/unit/test_taint.py"
_T09 = "tests/safety/test_t09_forged_prompts.py"
_T10 = "tests/safety/test_t10_slack_markup.py"
_T11 = "tests/safety/test_t11_links.py"
_T12 = "tests/safety/test_t12_deceiving_unicode.py"
_T17 = "tests/safety/test_t17_orders_in_text.py"
_T23 = "tests/safety/test_t23_secrets.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


TEXTS: tuple[Sabotage, ...] = (
    _one(
        "intake: escape sequences stay",
        "readable.py",
        '    shown = _ESCAPES.sub("", text) if not text.isascii() or "\\x1b" in text else text',
        "    shown = text",
        _INTAKE,
    ),
    _one(
        "intake: the nonce may stand in the text",
        "intake.py",
        "    while nonce in text:",
        "    while False:",
        _INTAKE,
    ),
    _one(
        "intake: results are not fenced",
        "intake.py",
        "    if not result.nonce:",
        "    if result.nonce:",
        _INTAKE,
    ),
    _one(
        "intake: bombs are taken in whole",
        "intake.py",
        "            if self.leaves > _LEAVES_MAX:",
        "            if False:",
        _INTAKE,
    ),
    _one(
        "intake: each line is redacted by itself",
        "intake.py",
        "self._redactor.texts(texts)",
        "[self._redactor.text(text) for text in texts]",
        _INTAKE,
    ),
    _one(
        "intake: names in answers are not redacted",
        "intake.py",
        "        return self.line(key)",
        "        return plain_line(key)",
        _INTAKE,
    ),
    _one(
        "intake: a host may mention people",
        "intake.py",
        '    return _MENTION.sub("‹", plain_text(text))',
        "    return plain_text(text)",
        _T10,
    ),
    _one(
        "vocabulary: any word will do",
        "vocabulary.py",
        "        return text in _WORDS",
        "        return True or text in _WORDS",
        _INTAKE,
        _T17,
    ),
    _one(
        "taint: what tools return is trusted",
        "reads.py",
        "            untrusted=tool.taints or",
        "            untrusted=False and",
        _TAINT,
        _T17,
    ),
    _one(
        "taint: errors are trusted",
        "reads.py",
        "tool.taints or bool(errors) or ",
        "tool.taints or ",
        _T17,
    ),
    _one(
        "taint: other people's words are trusted",
        "taint.py",
        "                if message.actor.key != asker:",
        "                if False:",
        _TAINT,
    ),
    _one(
        "taint: pasted text is trusted",
        "taint.py",
        "                elif _pasted(message.text):",
        "                elif False:",
        _TAINT,
    ),
    _one(
        "taint: the outcome of an action is trusted",
        "approvals.py",
        "untrusted=bool(approval.outcomes)",
        "untrusted=False",
        _T17,
    ),
    _one(
        "card: the caution is left out",
        "adapters/slack/card.py",
        "one_line(caution(approval), _FACT_MAX))] if approval.tainted_by else []",
        "one_line(caution(approval), _FACT_MAX))] if False else []",
        _T09,
    ),
    _one(
        "card: reasons are shown among the facts",
        "adapters/slack/card.py",
        '    rows = [("action", one_line(action.tool, _FACT_MAX))]',
        '    rows = [("action", one_line(action.tool, _FACT_MAX)), ("why", one_line(approval.reason, 9))]',
        _T09,
    ),
    _one(
        "card: what hosts say counts as a fact",
        "adapters/slack/card.py",
        "    facts = [_title(card), _facts(approval), _people(approval), _standing(card)]",
        "    facts = [_title(card), _facts(approval), _people(approval), _impacts(approval), _standing(card)]",
        _T09,
    ),
    _one(
        "card: a reason of any length",
        "adapters/slack/card.py",
        "return cut(defanged(spelled_out(text[:_REASON_MAX])), _REASON_MAX).strip()",
        "return defanged(spelled_out(text)).strip()",
        _T09,
    ),
    _one(
        "slack: hidden characters are shown",
        "adapters/slack/visible.py",
        "    return unicodedata.category(char) in _HIDDEN",
        "    return False",
        _T12,
    ),
    _one(
        "slack: mentions of the model's are alive",
        "adapters/slack/mrkdwn.py",
        '    return _MENTION.sub("< ", text)',
        "    return text",
        _T10,
    ),
    _one(
        "slack: addresses are alive",
        "adapters/links.py",
        '    text = _SCHEME.sub("[:]//", text)',
        "    text = str(text)",
        _T11,
    ),
    # Entities are read, and what is left of them broken: one of the two is enough.
    Sabotage(
        "slack: entities are left to the reader",
        (
            Change("opsbot/adapters/links.py", "        decoded = html.unescape(text)", "        decoded = text"),
            Change("opsbot/adapters/links.py", '    return _ENTITY.sub("& ", text)', "    return text"),
        ),
        (_T11,),
    ),
    _one(
        "slack: any host that begins like a listed one",
        "adapters/links.py",
        "        if match.group(1).lower() not in allowed:",
        "        if not match.group(1).lower().startswith(tuple(allowed)):",
        _T11,
    ),
    _one(
        "slack: links unfurl",
        "adapters/slack/web.py",
        "        arguments = {**_inert(method), **arguments}",
        "        arguments = {**arguments}",
        _T11,
    ),
    _one(
        "without a model: a log leaves its block",
        "adapters/keyless_words.py",
        '.replace("```", "\'\'\'")',
        "",
        _T10,
    ),
    _one(
        "exits: drafts show what becomes a secret",
        "exits.py",
        "        if shown := self._redactor.draft(markdown):",
        "        if shown := markdown:",
        _T23,
    ),
    # What the model says is redacted before it is stored, and again before it is shown.
    Sabotage(
        "exits: what the model says is shown as it is",
        (
            Change(
                "opsbot/turn.py",
                "complete(conversation, self.intake.text(heard.text)",
                "complete(conversation, str(heard.text)",
            ),
            Change(
                "opsbot/exits.py",
                "return replace(content, markdown=redact(content.markdown), footer=redact(content.footer))",
                "return replace(content, markdown=str(content.markdown), footer=redact(content.footer))",
            ),
        ),
        (_T23,),
    ),
    _one(
        "people: their words are stored as they are",
        "service.py",
        "            return replace(event, text=self._parts.intake.text(event.text))",
        "            return event",
        _T23,
    ),
    _one(
        "redaction: shapes are not looked for",
        "redact.py",
        "            if any(trigger in lowered for trigger in shape.triggers):",
        "            if False:",
        "tests/unit/test_redact.py",
    ),
    _one(
        "history: a person may speak for another",
        "adapters/openai_history.py",
        '    return "\\n  ".join(text.splitlines())',
        "    return text",
        _T17,
    ),
)
