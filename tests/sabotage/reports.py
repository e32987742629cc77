"""Defences of incident reports, of answers in a form and of alerts, to take out one by one and in pairs."""

from tests.sabotage.copy import Change, Sabotage

_WORDS = "tests/unit/test_incident_words.py"
_FACTS = "tests/unit/test_incident_facts.py"
_ANSWERS = "tests/unit/test_typed_answers.py"
_REPORTS = "tests/scenario/test_reports.py"
_STORE = "tests/contract/test_store_reports.py"
_SLACK = "tests/wire/test_slack_reports.py"
_FORM = "tests/wire/test_model_answer_format.py"
_ALERTS = "tests/unit/test_alerts.py"
_PASTED = "tests/scenario/test_pasted_alerts.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


def _gone(name: str, file: str, before: str, *tests: str) -> Sabotage:
    """Take a condition out: it never holds."""
    return _one(name, file, before, before[: before.index("if ")] + "if False:", *tests)


REPORTS: tuple[Sabotage, ...] = (
    _gone(
        "report: the model may name hosts that nobody saw",
        "incident_words.py",
        "            if name not in seen.answered:",
        _WORDS,
    ),
    _gone(
        "report: anybody may own a follow-up",
        "incident_words.py",
        "        if follow_up.owner and follow_up.owner not in people:",
        _WORDS,
    ),
    _one(
        "report: a quotation is believed",
        "incident_facts.py",
        '        return next((tool for tool, text in self.results if wanted in text), "")',
        '        return next((tool for tool, text in self.results), "")',
        _WORDS,
    ),
    _gone(
        "report: a quotation of nothing proves a cause",
        "incident_facts.py",
        "        if sum(map(str.isalnum, wanted)) < _QUOTE_MIN:",
        _WORDS,
    ),
    _one(
        "report: a cause without proof keeps its confidence",
        "incident_words.py",
        "    confidence = form.confidence if proven else Confidence.LOW",
        "    confidence = form.confidence",
        _WORDS,
    ),
    _one(
        "report: the model sorts hosts that code did not see",
        "incident_facts.py",
        "        bad = self.answered.intersection(affected)",
        "        bad = frozenset(affected)",
        _FACTS,
    ),
    _one(
        "report: a failed result shows its hosts",
        "incident_facts.py",
        "            if not message.failed:",
        "            if True:",
        _FACTS,
    ),
    _one(
        "report: a line of a message passes for another message",
        "incident_words.py",
        '    return "\\n  ".join(kept.splitlines())',
        "    return kept",
        _WORDS,
    ),
    _one(
        "report: words of the model are not taken in",
        "incident_words.py",
        "        summary=intake.text(form.summary, limit=SUMMARY_MAX),",
        "        summary=form.summary,",
        _WORDS,
    ),
    _one(
        "report: words of an edit are not taken in",
        "incident_words.py",
        "        summary=intake.text(after.summary, limit=SUMMARY_MAX),",
        "        summary=after.summary,",
        _REPORTS,
    ),
    _gone(
        "answers: one that was cut is read",
        "typed_answers.py",
        '    if heard.done is not None and heard.done.reason == "length":',
        _ANSWERS,
    ),
    _gone("answers: a refusal is read", "typed_answers.py", "    if done.refused:", _ANSWERS),
    _gone(
        "answers: one that was filtered is read",
        "typed_answers.py",
        '    if done.reason == "content_filter":',
        _ANSWERS,
    ),
    _one(
        "answers: the last of two equal names counts",
        "typed_answers.py",
        "object_pairs_hook=_once, parse_constant",
        "parse_constant",
        _WORDS,
    ),
    _one(
        "answers: asking costs nothing",
        "typed_answers.py",
        "        await self.meter.check(account)",
        "        pass",
        _ANSWERS,
    ),
    _gone(
        "form: a refused form is asked for again and again",
        "adapters/openai_endpoint.py",
        "            if carries_format(body) and refuses_format(text):",
        _FORM,
    ),
    _gone(
        "report: everybody may edit and publish",
        "reporting.py",
        "        if not any(is_approver(approval, actor) for approval in approvals):",
        _REPORTS,
    ),
    _one(
        "report: any button publishes",
        "reporting.py",
        "        fits = self.seals.fits_report(click.seal, report.id, report.version)",
        "        fits = True",
        _REPORTS,
    ),
    _one(
        "report: a button counts wherever it stands",
        "reporting.py",
        "        on_its_card = item is not None",
        "        on_its_card = True or item is not None",
        _REPORTS,
    ),
    _gone(
        "report: the second editor wins",
        "reporting.py",
        "        if report.version != edit.version:",
        _REPORTS,
    ),
    _gone(
        "report: what is closed can be pressed",
        "reporting.py",
        "    if report.state is not ReportState.DRAFT:",
        _REPORTS,
    ),
    _gone(
        "report: a crash while publishing leaves it half done",
        "reporting.py",
        "        if report.closing == event_id:",
        _REPORTS,
    ),
    _one(
        "report: files are shown again after a crash",
        "reporting.py",
        "files_of(report), look=look)",
        "files_of(report), look=False)",
        _REPORTS,
    ),
    _one(
        "store: a report is overwritten whoever changed it",
        "adapters/store/reports.py",
        "(_rows.id == report.id) & (_rows.version == report.version)",
        "_rows.id == report.id",
        _STORE,
    ),
    _one(
        "store: a report's seal is not looked at",
        "adapters/store/reports.py",
        "        if not hmac.compare_digest(",
        "        if False and not hmac.compare_digest(",
        _STORE,
    ),
    _one(
        "store: the log of a conversation holds what others quote",
        "adapters/store/audit_log.py",
        "for record in found if record.entry.conversation_id == conversation_id)",
        "for record in found)",
        _STORE,
    ),
    _one(
        "slack: links of a report can be followed",
        "adapters/slack/report_card.py",
        "    return cut(inert(stripped(text)).strip(), limit)",
        "    return cut(stripped(text).strip(), limit)",
        _SLACK,
    ),
    _one(
        "slack: a file holds markup of others",
        "incident_files.py",
        ".translate(_MARKUP)",
        "",
        _SLACK,
    ),
    _one(
        "slack: a long report is sent whole",
        "adapters/slack/report_card.py",
        "    if _size(blocks) > _ROOM:",
        "    if False:",
        _SLACK,
    ),
    _one(
        "slack: a form is taken although it cannot be",
        "adapters/slack/listeners.py",
        "(faults := await self._handler.faults(heard.event)):",
        "(faults := {}):",
        _SLACK,
    ),
    _one(
        "slack: forms of other workspaces are heard",
        "adapters/slack/report_form.py",
        "    actor = clicker(body, home)",
        '    actor = clicker({**body, "team": {"id": home.team_id}}, home)',
        _SLACK,
    ),
    _one(
        "service: a form that was not written down is taken",
        "service.py",
        "            if isinstance(event, IncomingMessage | IncomingReportEdit):",
        "            if isinstance(event, IncomingMessage):",
        _REPORTS,
    ),
    _one(
        "alerts: a pasted one does not taint",
        "taint.py",
        "PASTED_ALERT in text or len(text)",
        "len(text)",
        _ALERTS,
    ),
    _one(
        "alerts: their words are markup for people",
        "alerts.py",
        "    parts = (state, code(alert.title),",
        "    parts = (state, alert.title,",
        _ALERTS,
    ),
    _one(
        "alerts: the model invents their hosts",
        "alarms.py",
        "for name in form.hosts if name not in pasted]",
        "for name in form.hosts if name in ()]",
        _PASTED,
    ),
    _one(
        "alerts: what was pasted goes on as it is",
        "service.py",
        "            text = alert.text\n            await self._parts.delivery",
        "            await self._parts.delivery",
        _PASTED,
    ),
    _one(
        "alerts: a host like the one named is taken",
        "alerts.py",
        '    return found[0] if len(found) == 1 else ""',
        "    return found[0] if found else next(iter(('web-1',)))",
        _ALERTS,
    ),
)
