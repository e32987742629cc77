"""Reports in Slack: cards within its limits, literal words, a form that is sent back, and files shown once."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsbot.adapters.slack import report_card, report_form
from opsbot.adapters.slack.incoming import Home
from opsbot.adapters.slack.shortcuts import SHORTCUTS, used
from opsbot.domain import IncidentCard, IncomingCommand, IncomingReportClick, IncomingReportEdit, Place, TextFile
from opsbot.errors import ChatError
from opsbot.incident_files import files_of, markdown
from opsbot.incident_report import (
    Cause,
    Confidence,
    Deed,
    Evidence,
    FollowUp,
    Happening,
    HostsSeen,
    IncidentReport,
    ReportState,
    Words,
)
from opsbot.workbench import Limits
from opsbot.workbench.validation import check_message, check_view
from tests.contract.test_store_reports import FACTS, a_report
from tests.safety.hostile_text import BREAKOUTS, LINKS, MARKUP, TERMINAL, UNICODE
from tests.slack_bot import Stage, stage
from tests.workbench_fixture import MANIFEST, RunningWorkbench

TEAM = "T0WORKBENCH"
_LINES = ("# head", "- x", "1. x", "> q", "```\nx", "| a | b |")
HOSTILE = [text for text in (*MARKUP, *BREAKOUTS, *LINKS, *UNICODE, *TERMINAL, *_LINES) if text]
AT = datetime(2026, 11, 28, 3, 12, tzinfo=UTC)


def huge() -> IncidentReport:
    """Everything as large as it can be."""
    long = "x" * 4000
    causes = tuple(
        Cause(long[:400], Confidence.LOW, tuple(Evidence(long[:300], "") for _ in range(4))) for _ in range(5)
    )
    words = Words(long[:120], long[:1500], long[:1000], causes, tuple(FollowUp(long[:300], "U0BOB") for _ in range(8)))
    names = tuple(f"host-{number:03}.example" for number in range(200))
    lines = tuple(Happening(AT + timedelta(seconds=n), "T1/U1", long[:400], n) for n in range(200))
    deeds = tuple(
        Deed("7KQ2M4AB", long[:400], names, "T1/U1", ("T1/U2",) * 5, "failed", (long[:400],)) for _ in range(50)
    )
    facts = replace(FACTS, timeline=lines, left_out=12345, deeds=deeds, untrusted=tuple(["service_logs"] * 20))
    return a_report(words=words, hosts=HostsSeen(names, names, names, names, 9), facts=facts, note=long[:800])


def worded(text: str) -> IncidentReport:
    """This text wherever somebody else's words can stand."""
    words = Words(
        text,
        text,
        text,
        (Cause(text, Confidence.LOW, (Evidence(text, text), Evidence(text))),),
        (FollowUp(text, "U0BOB"),),
    )
    deed = replace(FACTS.deeds[0], action=text, hosts=(text,), verdicts=(text,))
    facts = replace(FACTS, timeline=(Happening(AT, "T1/U1", text, 1),), deeds=(deed,), untrusted=(text,))
    return a_report(words=words, hosts=HostsSeen((text,), (text,)), facts=facts, note=text, writer=text)


def cards(report: IncidentReport) -> list[IncidentCard]:
    closed = replace(report, state=ReportState.PUBLISHED, closed_by="T1/U0BOB", closed_at=AT)
    return [IncidentCard(report, "seal"), IncidentCard(closed), IncidentCard(closed, final=True)]


def runs(part: Any) -> list[dict[str, Any]]:
    """Every element of a rich text, however deep."""
    if isinstance(part, list):
        return [run for item in part for run in runs(item)]
    if isinstance(part, dict):
        return [part, *(run for value in part.values() for run in runs(value))]
    return []


@pytest.mark.parametrize("report", [a_report(), huge(), a_report(words=Words("t"))])
def test_cards_fit_slacks_limits(report):
    for card in cards(report):
        payload = report_card.render(card)
        assert check_message(list(payload.blocks), Limits()) == []
        assert len(payload.blocks) <= 50
        assert sum(len(run["text"]) for run in runs(list(payload.blocks)) if isinstance(run.get("text"), str)) < 13_000
        assert len(payload.plain) <= 12_000
        assert len(payload.text) <= 300


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_others_are_literal_on_every_card(text):
    plain = [report_card.render(card) for card in cards(worded("plain"))]
    for before, card in zip(plain, cards(worded(text)), strict=True):
        payload = report_card.render(card)
        blocks = list(payload.blocks)
        assert [block["type"] for block in blocks] == [block["type"] for block in before.blocks]
        found = runs(blocks)
        assert not [run for run in found if run.get("type") in ("mrkdwn", "markdown", "link", "broadcast", "usergroup")]
        assert {run["user_id"] for run in found if run.get("type") == "user"} <= {"U1", "U0BOB"}
        ids = [run["action_id"] for run in found if "action_id" in run]
        assert ids == [run["action_id"] for run in runs(list(before.blocks)) if "action_id" in run]
        assert "<" not in payload.text.replace("&lt;", "")
        assert not any("://" in run["text"] for run in found if isinstance(run.get("text"), str))


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_others_have_no_markup_in_the_file(text):
    said = markdown(worded(text))
    for line in said.splitlines():
        outside = "".join(line.split("`")[::2])
        assert "<" not in outside.replace("\\<", "")
        assert "](" not in outside.replace("\\](", "")
        assert "://" not in outside
    headings = [line for line in said.splitlines() if line.startswith("#")]
    assert len(headings) == len([line for line in markdown(worded("plain")).splitlines() if line.startswith("#")])


def test_a_report_of_everything_there_is_fits_a_file_and_says_what_is_missing():
    large = files_of(huge())
    assert all(20_000 < len(file.text) < 700_000 for file in large)
    assert "12345 earlier lines are left out" in large[0].text
    assert json.loads(large[1].text)["format"] == 1


# --- the form --------------------------------------------------------------------------------------------------------

PLACE = Place(TEAM, "C0OPS", "1700000000.000100")
HOME = Home(TEAM, "U0OPSBOT")


def sent(report: IncidentReport, **changes: Any) -> dict[str, Any]:
    """What Slack sends when somebody presses Save, after these changes to fields."""
    view = report_form.view(PLACE, IncidentCard(report, "seal"))
    values: dict[str, Any] = {}
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element = block["element"]
        values[block["block_id"]] = {element["action_id"]: _value(element, changes.get(block["block_id"]))}
    user = {"id": "U0BOB", "team_id": TEAM}
    return {
        "type": "view_submission",
        "team": {"id": TEAM},
        "user": user,
        "view": {"id": "V1", "hash": "h1", **view, "state": {"values": values}},
    }


def _value(element: dict[str, Any], changed: str | None) -> dict[str, Any]:
    match element["type"]:
        case "plain_text_input":
            return {"type": element["type"], "value": element.get("initial_value") if changed is None else changed}
        case "static_select":
            chosen = element["initial_option"] if changed is None else {"value": changed}
            return {"type": element["type"], "selected_option": chosen}
        case _:
            return {
                "type": element["type"],
                "selected_user": element.get("initial_user") if changed is None else changed,
            }


@pytest.mark.parametrize("report", [a_report(), huge(), a_report(words=Words("t"))])
def test_the_form_fits_slacks_limits(report):
    view = report_form.view(PLACE, IncidentCard(report, "s" * 22))
    assert check_view(view, "modal", Limits()) == []
    assert len(view["blocks"]) <= 100
    assert len(view["private_metadata"]) <= 3000
    assert len(json.dumps(view)) < 250_000


def test_a_form_sent_unchanged_holds_the_words_it_was_opened_with():
    report = a_report()
    heard = report_form.submitted(sent(report), HOME)
    assert heard.event == IncomingReportEdit(  # type: ignore[union-attr]
        PLACE,
        heard.event.actor,  # type: ignore[union-attr]
        report.id,
        1,
        "seal",
        replace(report.words, causes=tuple(replace(cause, evidence=()) for cause in report.words.causes)),
    )


def test_emptied_fields_are_gone_and_new_ones_are_read():
    changes = {
        "cause.0": " ",
        "cause.1": "A deploy.",
        "confidence.1": "medium",
        "follow_up.1": "Ask Bob",
        "owner.1": "U0BOB",
    }
    words = report_form.submitted(sent(a_report(), **changes), HOME).event.words  # type: ignore[union-attr]
    assert words.causes == (Cause("A deploy.", Confidence.MEDIUM),)
    assert words.follow_ups[1] == FollowUp("Ask Bob", "U0BOB")


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"title": " "}, "title", "cannot be empty"),
        ({"summary": ""}, "summary", "cannot be empty"),
        ({"summary": "x" * 1501}, "summary", "At most 1500 characters; these are 1501"),
        ({"cause.1": "x" * 401}, "cause.1", "At most 400"),
        ({"follow_up.0": "x" * 50_000}, "follow_up.0", "At most 300"),
    ],
)
def test_a_faulty_field_is_named(changes, field, said):
    unfit = report_form.submitted(sent(a_report(), **changes), HOME)
    assert isinstance(unfit, report_form.Unfit)
    assert said in unfit.faults[field]


@pytest.mark.parametrize(
    "meta",
    [
        "",
        "[]",
        "{" * 2000,
        json.dumps({"report": "a b", "version": 1, "seal": "x", "channel": "C1", "thread": "1.1"}),
        json.dumps({"report": "AB", "version": True, "seal": "x", "channel": "C1", "thread": "1.1"}),
        json.dumps({"report": "AB", "version": 1, "seal": 7, "channel": "C1", "thread": "1.1"}),
        json.dumps({"report": "AB", "version": 1, "seal": "x", "channel": "C1", "thread": ""}),
    ],
)
def test_a_form_that_opsbot_did_not_make_is_unfit(meta):
    body = sent(a_report())
    body["view"]["private_metadata"] = meta
    assert isinstance(report_form.submitted(body, HOME), report_form.Unfit)


@pytest.mark.parametrize(
    "changes",
    [
        {"user": {"id": "U0BOB", "team_id": "T0ELSE"}},
        {"team": {"id": "T0ELSE"}},
        {"user": {"id": "U0OPSBOT", "team_id": TEAM}},
        {"user": None},
        {"view": {"callback_id": "other"}},
        {"view": None},
    ],
)
def test_forms_of_others_are_not_heard(changes):
    assert report_form.submitted({**sent(a_report()), **changes}, HOME) is None


# --- on the workbench ------------------------------------------------------------------------------------------------


async def test_the_message_shortcut_is_the_command_in_the_messages_thread() -> None:
    async with stage() as on:
        place = await thread(on)
        await on.bench.control(
            "shortcut", user="U0BOB", callback_id="opsbot.report", channel="C0OPS", message_ts=place.thread_id
        )
        await on.handler.until(lambda h: any(isinstance(e, IncomingCommand) for e in h.accepted))
        command = next(e for e in on.handler.accepted if isinstance(e, IncomingCommand))
    assert (command.text, command.place, command.actor.user_id) == ("report", place, "U0BOB")
    assert command.reply_to


def test_the_manifest_declares_the_shortcuts_that_are_heard():
    declared = json.loads(MANIFEST.read_text(encoding="utf-8"))["features"]["shortcuts"]
    assert {entry["callback_id"] for entry in declared} == set(SHORTCUTS)


@pytest.mark.parametrize(
    "changes",
    [
        {"callback_id": "other"}, {"user": {"id": "U0BOB", "team_id": "T0ELSE"}}, {"message_ts": "now", "message": {}},
        {"channel": None}, {"message": []}, {"trigger_id": ""}, {"channel": {"id": "<!channel>"}},
    ],
)  # fmt: skip
def test_shortcuts_of_others_or_unreadable_ones_are_not_heard(changes):
    body = {
        "type": "message_action", "callback_id": "opsbot.report", "team": {"id": TEAM}, "trigger_id": "1.2.x",
        "user": {"id": "U0BOB", "team_id": TEAM}, "channel": {"id": "C0OPS"}, "message_ts": "1700.000100",
        "message": {"ts": "1700.000100", "thread_ts": "1700.000001"},
    }  # fmt: skip
    heard = used(body, HOME)
    assert heard is not None
    assert heard.event.place == Place(TEAM, "C0OPS", "1700.000001")
    if changes == {"message": []}:
        changes = {"message": [], "message_ts": "x"}
    assert used({**body, **changes}, HOME) is None


async def thread(on: Stage) -> Place:
    ts = (await on.bench.person("alice").says("C0OPS", "web-1 is slow"))["ts"]
    return Place(TEAM, "C0OPS", ts)


async def draft(on: Stage, place: Place) -> dict[str, Any]:
    await on.bot.chat.post(place, IncidentCard(a_report(), "seal"), key="report:RPRT2345")
    return await on.bench.watcher.message(lambda m: "Draft of an incident report" in json.dumps(m.get("blocks", [])))


async def opened(on: Stage, place: Place, bench: RunningWorkbench) -> dict[str, Any]:
    """Press Edit as Bob, and open the form as the bot would."""
    await bench.person("bob").clicks(await draft(on, place), report_card.EDIT)
    await on.handler.until(lambda h: any(isinstance(e, IncomingReportClick) for e in h.accepted))
    click = next(e for e in on.handler.accepted if isinstance(e, IncomingReportClick))
    assert (click.report_id, click.verb, click.seal, click.place) == ("RPRT2345", "edit", "seal", place)
    await on.bot.chat.form(click.trigger, place, IncidentCard(a_report(), "seal"))
    view: dict[str, Any] = (await bench.watcher.until(lambda w: w.views.get("U0BOB")))[0]
    return view


async def test_the_form_opens_by_the_click_and_comes_back_as_an_edit() -> None:
    async with stage() as on:
        view = await opened(on, await thread(on), on.bench)
        values = sent(a_report(), title="Checkout was down")["view"]["state"]["values"]
        await on.bench.person("bob").submits(view, values)
        await on.handler.until(lambda h: any(isinstance(e, IncomingReportEdit) for e in h.accepted))
        edit = next(e for e in on.handler.accepted if isinstance(e, IncomingReportEdit))
        await on.bench.watcher.until(lambda w: w.views["U0BOB"] == [])
    assert edit.words.title == "Checkout was down"
    assert edit.actor.user_id == "U0BOB"


async def test_a_form_with_faults_stays_open_and_shows_them() -> None:
    async with stage() as on:
        view = await opened(on, await thread(on), on.bench)
        on.handler.form_faults = {"title": "It was changed meanwhile."}
        await on.bench.person("bob").submits(view, sent(a_report())["view"]["state"]["values"])
        shown = await on.bench.watcher.until(lambda w: next((v for v in w.views["U0BOB"] if v.get("errors")), None))
    assert shown["errors"] == {"title": "It was changed meanwhile."}
    assert not any(isinstance(e, IncomingReportEdit) for e in on.handler.accepted)


async def test_a_form_that_could_not_be_written_down_is_not_taken() -> None:
    async with stage() as on:
        view = await opened(on, await thread(on), on.bench)
        on.handler.failures = 1
        answered = await on.bench.person("bob").submits(view, sent(a_report())["view"]["state"]["values"])
        assert on.bench.watcher.views["U0BOB"], "the words are still there"
        assert not any(isinstance(e, IncomingReportEdit) for e in on.handler.accepted)
    assert not (answered.get("response") or {}).get("response_action")


async def test_a_trigger_that_is_too_old_is_told() -> None:
    async with stage() as on:
        with pytest.raises(ChatError, match="Press Edit again"):
            await on.bot.chat.form("1.2.made-up", await thread(on), IncidentCard(a_report(), "seal"))


async def test_files_are_shown_together_in_the_thread_and_after_a_crash_only_what_is_missing() -> None:
    async with stage() as on:
        place = await thread(on)
        first, second = TextFile("a.md", "a.md", "# one\n"), TextFile("b.json", "b.json", "{}\n")
        await on.bot.chat.files(place, [first])
        await on.bot.chat.files(place, [first, second], look=True)
        await on.bot.chat.files(place, [first, second], look=True)
        async with on.bench.session.get(f"{on.bench.url}/_control/state") as response:
            messages = (await response.json())["messages"]["C0OPS"]
    shown = [[file["title"] for file in m["files"]] for m in messages if m.get("files")]
    assert shown == [["a.md"], ["b.json"]]
    assert {m["thread_ts"] for m in messages if m.get("files")} == {place.thread_id}
