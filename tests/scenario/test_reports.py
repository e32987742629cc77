"""Incident reports in conversations: written from a thread, edited by one at a time, published once."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from opsbot.domain import IncidentCard, IncomingCommand, IncomingReportClick, IncomingReportEdit
from opsbot.errors import ChatError, ModelUnavailable, StoreError
from opsbot.incident_report import Cause, Confidence, FollowUp, IncidentReport, ReportRules, ReportState
from opsbot.passages import Kind
from opsbot.ports import ModelRequest
from opsbot.spending import Spending
from tests.fake_chat import Posted
from tests.incident_threads import answer
from tests.scenario.house import ALICE, BOB, CAROL, THREAD, House, World
from tests.scenario.mortal import Life, Mortal
from tests.scenario.test_crash_everywhere import until_dead
from tests.scripted_model import Say, call

GOOD = answer(
    causes=[{"text": "nginx fell over.", "confidence": "high", "evidence": ["nginx.service"]}],
    follow_ups=[{"text": "Watch it.", "owner": "UALICE"}],
)


async def looked(world: World, *replies: "str | Say | Callable[[ModelRequest], str]") -> House:
    """Open a house in whose thread Alice asked about web-1, and ask for the report."""
    house = House(world)
    await house.start()
    world.model.add(call("service_status", "c1", hosts=["web-1"]), "nginx runs.", *replies)
    await house.says(ALICE, "how is web-1?")
    await house.types(ALICE, "report", THREAD)
    return house


def drafts(house: House) -> list[Posted]:
    return [m for m in house.world.chat.messages if isinstance(m.content, IncidentCard) and not m.content.final]


def shown(house: House) -> IncidentCard:
    content = drafts(house)[-1].content
    assert isinstance(content, IncidentCard)
    return content


def report(house: House) -> IncidentReport:
    return shown(house).report


async def stored(house: House) -> IncidentReport:
    found = await house.world.store.reports.get(report(house).id)
    assert found is not None
    return found


def finals(house: House) -> list[IncidentCard]:
    contents = [m.content for m in house.world.chat.messages]
    return [content for content in contents if isinstance(content, IncidentCard) and content.final]


def click(house: House, verb: str, actor=ALICE, **changes) -> IncomingReportClick:
    posted = drafts(house)[-1]
    made = IncomingReportClick(
        posted.place, actor, report(house).id, verb, posted.ref.message_id, shown(house).seal, "", "trigger-1"
    )
    return replace(made, **changes)


def form(house: House, actor=ALICE, **changes) -> IncomingReportEdit:
    card = shown(house)
    words = replace(card.report.words, **changes)
    return IncomingReportEdit(THREAD, actor, card.report.id, card.report.version, card.seal, words)


async def press(house: House, verb: str, actor=ALICE, **changes) -> str:
    before = len(house.world.chat.whispers)
    await house.send(click(house, verb, actor, **changes))
    await house.quiet()
    return house.whispered if len(house.world.chat.whispers) > before else ""


async def kinds(house: House) -> list[str]:
    return [r.entry.kind for r in await house.world.store.audit.read() if r.entry.kind.startswith("report.")]


# --- writing ---------------------------------------------------------------------------------------------------------


async def test_a_report_holds_the_models_words_and_codes_facts() -> None:
    house = await looked(World(), GOOD)
    made = report(house)
    assert made.words.title == "web-1 out of disk space"
    assert made.hosts.affected == ("web-1",)
    assert made.hosts.unseen == ("web-2",)
    assert made.hosts.others == 2
    assert made.words.causes[0].evidence[0].source == "service_status"
    assert made.words.causes[0].confidence is Confidence.HIGH
    assert made.writer == "scripted"
    assert made.note == ""
    told = [line.what for line in made.facts.timeline]
    assert any(line.startswith("service_status") for line in told)
    assert await kinds(house) == ["report.drafted"]
    await house.stop()


async def test_the_model_is_asked_without_tools_in_a_form_and_the_conversation_stays_as_it_was() -> None:
    world = World()
    house = await looked(world, GOOD)
    request = world.model.requests[-1]
    assert request.tools == ()
    assert request.answer_format is not None
    conversation = await world.store.conversations.load(THREAD)
    assert [type(m).__name__ for m in conversation.messages][-1] == "AssistantMessage"
    assert len(conversation.messages) == 4
    await house.stop()


async def test_an_unfit_answer_is_asked_for_once_more() -> None:
    house = await looked(World(), "Sorry, here is prose.", GOOD)
    assert report(house).writer == "scripted"
    await house.stop()


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        (("<html>no</html>", "<html>no</html>"), "web page"),
        ((answer(affected=["db-9"]),) * 2, "db-9"),
        ((answer(follow_ups=[{"text": "x", "owner": "@ceo"}]),) * 2, "@ceo"),
        ((Say("I will not.", refused=True),), "The model refused"),
        ((Say(GOOD, reason="length"),) * 2, "length limit"),
        ((ModelUnavailable("The model is down."),), "The model is down."),
    ],
)
async def test_when_the_model_fails_the_facts_are_offered_with_the_reason(replies, said) -> None:
    house = await looked(World(), *replies)
    made = report(house)
    assert said in made.note
    assert "Edit adds the words" in made.note
    assert made.writer == ""
    assert made.hosts.unclear == ("web-1",)
    assert made.facts.timeline
    assert made.words.title.startswith("Incident of ")
    await house.stop()


async def test_without_a_model_the_report_says_so_and_holds_the_facts() -> None:
    world = World(spending=Spending("none"))
    house = House(world)
    await house.start()
    world.model.add(call("service_status", "c1", hosts=["web-1"]), "nginx runs.")
    await house.says(ALICE, "how is web-1?")
    await house.types(ALICE, "report", THREAD)
    assert report(house).note.startswith("No model is configured")
    assert await press(house, "publish") == ""
    assert finals(house)
    await house.stop()


async def test_outside_a_thread_it_is_said_where_reports_are_made() -> None:
    house = House(World())
    await house.start()
    await house.types(ALICE, "report")
    assert "A report is made of a thread" in house.whispered
    await house.types(ALICE, "report", THREAD)
    assert "Nothing happened in this thread" in house.whispered
    await house.stop()


async def test_people_who_may_not_ask_get_no_report() -> None:
    house = await looked(World(), GOOD)
    before = len(drafts(house))
    await house.types(CAROL, "report", THREAD)
    assert len(drafts(house)) == before
    await house.stop()


async def test_the_same_command_makes_one_report() -> None:
    world = World()
    house = await looked(world, GOOD, GOOD)
    event = IncomingCommand(THREAD, ALICE, "report")
    await house.send(event, key="same")
    await house.send(event, key="same")
    await house.quiet()
    assert len(drafts(house)) == 2
    assert not world.model.left
    await house.stop()


async def test_a_tools_order_does_not_get_into_the_report_as_owner_host_or_mention() -> None:
    def obey(request: ModelRequest) -> str:
        said = "<!channel> <@UBOB> *X* <https://evil.example|see>"
        return answer(title=said, causes=[{"text": said, "confidence": "high", "evidence": ["never said"]}])

    house = await looked(World(), obey)
    words = report(house).words
    assert "<!" not in words.title
    assert "<@" not in words.title
    assert words.causes[0].confidence is Confidence.LOW
    assert words.causes[0].evidence[0].source == ""
    await house.stop()


# --- editing ---------------------------------------------------------------------------------------------------------


async def test_edit_opens_the_form_with_the_draft() -> None:
    house = await looked(World(), GOOD)
    assert await press(house, "edit", BOB) == ""
    ((trigger, card),) = house.world.chat.forms
    assert trigger == "trigger-1"
    assert card.report.words.title == "web-1 out of disk space"
    await house.stop()


async def test_a_form_that_could_not_be_opened_is_told() -> None:
    house = await looked(World(), GOOD)
    house.world.chat.failures.append(ChatError("Slack did not open the form in time. Press Edit again."))
    assert await press(house, "edit") == "Slack did not open the form in time. Press Edit again."
    await house.stop()


async def test_an_edit_changes_the_words_and_nothing_else() -> None:
    house = await looked(World(), GOOD)
    before = report(house)
    causes = (Cause("A bad deploy.", Confidence.MEDIUM), Cause("nginx fell over.", Confidence.LOW))
    edit = form(house, BOB, title="Checkout down", causes=causes, follow_ups=(FollowUp("Roll back.", "UBOB"),))
    assert await house.service.faults(edit) == {}
    await house.send(edit)
    await house.quiet()
    after = report(house)
    assert (after.words.title, after.words.follow_ups) == ("Checkout down", (FollowUp("Roll back.", "UBOB"),))
    assert after.words.causes[0].evidence == ()
    assert after.words.causes[1].evidence == before.words.causes[0].evidence
    assert (after.facts, after.hosts) == (before.facts, before.hosts)
    assert (after.version, after.editors) == (before.version + 1, (BOB.key,))
    assert await kinds(house) == ["report.drafted", "report.edited"]
    await house.stop()


async def test_markup_and_secrets_of_an_edit_do_not_get_through() -> None:
    house = await looked(World(secrets=("hunter2-secret",)), GOOD)
    await house.send(form(house, summary="<!channel> <@UBOB> hunter2-secret \u202ex"))
    await house.quiet()
    said = (await stored(house)).words.summary
    assert not any(bad in said for bad in ("<!", "<@", "hunter2", "\u202e"))
    await house.stop()


async def test_the_second_of_two_editors_is_told_and_changes_nothing() -> None:
    house = await looked(World(), GOOD)
    first, second = form(house, ALICE, title="Alice's"), form(house, BOB, title="Bob's")
    await house.send(first)
    await house.quiet()
    assert "changed meanwhile" in (await house.service.faults(second))["title"]
    await house.send(second)
    await house.quiet()
    assert (await stored(house)).words.title == "Alice's"
    await house.stop()


async def test_the_same_form_sent_twice_counts_once() -> None:
    house = await looked(World(), GOOD)
    edit = form(house, title="Once")
    for _ in range(2):
        assert await house.service.faults(edit) == {}
        await house.send(edit)
        await house.quiet()
    assert (await stored(house)).version == 2
    assert (await kinds(house)).count("report.edited") == 1
    await house.stop()


async def test_a_form_with_a_seal_or_version_of_its_own_making_is_refused() -> None:
    house = await looked(World(), GOOD)
    edit = form(house, title="forged")
    for forged in (replace(edit, seal="x"), replace(edit, version=7), replace(edit, report_id="ZZZZZZZZ")):
        assert await house.service.faults(forged)
        await house.send(forged)
        await house.quiet()
    elsewhere = replace(edit, place=replace(THREAD, channel_id="C9"))
    assert await house.service.faults(elsewhere)
    assert (await stored(house)).words.title == "web-1 out of disk space"
    await house.stop()


@pytest.mark.parametrize("verb", ["edit", "publish", "discard"])
async def test_only_whoever_asked_and_approvers_have_a_say(verb) -> None:
    house = await looked(World(), GOOD)
    rules = replace(house.world.rules, asker_users=frozenset({"UALICE", "UBOB", "UCAROL"}))
    await house.stop()
    other = House(replace(house.world, rules=rules))
    await other.start()
    assert "whoever asked for it, or by an approver" in await press(other, verb, CAROL)
    assert await other.service.faults(form(other, CAROL))
    assert (await stored(other)).state is ReportState.DRAFT
    assert not other.world.chat.forms
    assert "report.refused" in await kinds(other)
    await other.stop()


async def test_a_setting_lets_everybody_edit_who_may_ask() -> None:
    world = World(reports=ReportRules(askers=True))
    world.rules = replace(world.rules, asker_users=frozenset({"UALICE", "UBOB", "UCAROL"}))
    house = await looked(world, GOOD)
    assert await press(house, "edit", CAROL) == ""
    await house.stop()


# --- publishing ------------------------------------------------------------------------------------------------------


async def test_publishing_posts_the_report_uploads_files_and_makes_it_found() -> None:
    house = await looked(World(reports=ReportRules(channel="C0INC")), GOOD)
    assert await press(house, "publish", BOB) == ""
    made = await stored(house)
    assert (made.state, made.closed_by, made.delivered) == (ReportState.PUBLISHED, BOB.key, True)
    places = [m.place.channel_id for m in house.world.chat.messages if m.content in finals(house)]
    assert places == ["C1", "C0INC"]
    assert [file.name for _, file in house.world.chat.uploads] == [f"incident-{made.id}.md", f"incident-{made.id}.json"]
    incident = house.world.store.incidents.get(made.id)
    assert incident is not None
    assert incident.title == made.words.title
    assert incident.hosts == ("web-1",)
    assert house.world.store.passages.matching(Kind.INCIDENT, ("disk", "space"), every=True, limit=1)
    assert await kinds(house) == ["report.drafted", "report.published"]
    assert shown(house).report.state is ReportState.PUBLISHED
    await house.stop()


async def test_a_second_click_is_told_who_published() -> None:
    house = await looked(World(), GOOD)
    second = click(house, "publish", BOB)
    await press(house, "publish", ALICE)
    await house.send(second)
    await house.quiet()
    assert "published by <@UALICE>" in house.whispered
    assert len(finals(house)) == 1
    await house.stop()


async def test_two_clicks_in_the_same_moment_publish_once() -> None:
    house = await looked(World(), GOOD)
    await house.send(click(house, "publish", ALICE))
    await house.send(click(house, "publish", BOB))
    await house.quiet()
    assert len(finals(house)) == 1
    assert len(house.world.chat.uploads) == 2
    assert (await kinds(house)).count("report.published") == 1
    await house.stop()


async def test_a_redelivered_click_publishes_once() -> None:
    house = await looked(World(), GOOD)
    event = click(house, "publish")
    assert await house.send(event, key="k")
    assert not await house.send(event, key="k")
    await house.quiet()
    assert len(finals(house)) == 1
    await house.stop()


async def test_a_draft_that_changed_since_is_not_published_unread() -> None:
    house = await looked(World(), GOOD)
    old = click(house, "publish", BOB)
    await house.send(form(house, title="Changed"))
    await house.quiet()
    await house.send(old)
    await house.quiet()
    assert "as it stands now" in house.whispered
    assert not finals(house)
    await house.stop()


@pytest.mark.parametrize("changes", [{"seal": "forged"}, {"message_id": "17.99"}, {"report_id": "ZZZZZZZZ"}])
async def test_a_button_that_is_not_of_the_draft_does_nothing(changes) -> None:
    house = await looked(World(), GOOD)
    assert await press(house, "publish", **changes)
    assert not finals(house)
    await house.stop()


async def test_a_discarded_draft_is_over() -> None:
    house = await looked(World(), GOOD)
    old = click(house, "publish")
    await press(house, "discard", BOB)
    assert (await stored(house)).state is ReportState.DISCARDED
    await house.send(old)
    await house.quiet()
    assert "discarded by <@UBOB>" in house.whispered
    assert house.world.store.incidents.get(report(house).id) is None
    assert not finals(house)
    assert not house.world.chat.uploads
    await house.stop()


async def test_files_that_cannot_be_uploaded_do_not_undo_the_publication() -> None:
    house = await looked(World(), GOOD)
    house.world.chat.file_failures.append(ChatError("the app may not upload files."))
    said = await press(house, "publish")
    assert "its files are not" in said
    assert (await stored(house)).delivered
    await house.stop()


async def published_with_a_death_at(step: int) -> tuple[World, Life, House]:
    """Publish in a process that dies at this step (0: never), then go on in another one, as people would."""
    world, life = World(), Life(step)
    house = await looked(world, GOOD)
    event = click(house, "publish")
    await house.stop()
    world.store.outage.reason = ""
    mortal = House(replace(world, store=Mortal(world.store, life, "store"), chat=Mortal(world.chat, life, "chat")))  # type: ignore[arg-type]

    async def first_life() -> None:
        await mortal.start()
        await mortal.send(event, key="publish")
        await mortal.quiet()

    await until_dead(life, first_life())
    again = House(world)
    await again.start()
    await again.quiet()
    await again.send(event, key="publish")  # Slack had no answer; a person presses once more
    await again.quiet()
    return world, life, again


async def test_wherever_a_process_dies_while_publishing_everything_is_shown_once() -> None:
    _, whole, house = await published_with_a_death_at(0)
    await house.stop()
    assert whole.steps > 20
    for step in range(1, whole.steps + 1):
        world, life, again = await published_with_a_death_at(step)
        where = f"died {life.last}"
        assert (await stored(again)).delivered, where
        assert len(finals(again)) == 1, where
        assert len(world.chat.uploads) == 2, where
        assert shown(again).report.state is ReportState.PUBLISHED, where
        assert (await kinds(again)).count("report.published") == 1, where
        assert world.store.incidents.get(report(again).id) is not None, where
        await again.stop()


async def test_a_draft_survives_a_restart_with_its_buttons() -> None:
    world = World()
    house = await looked(world, GOOD)
    event = click(house, "publish")
    await house.stop()
    world.store.outage.reason = ""
    again = House(world)
    await again.start()
    await again.send(event)
    await again.quiet()
    assert len(finals(again)) == 1
    await again.stop()


async def test_the_files_hold_the_whole_report() -> None:
    house = await looked(World(), GOOD)
    await press(house, "publish")
    markdown, data = (file.text for _, file in house.world.chat.uploads)
    assert "# web-1 out of disk space" in markdown
    assert "- not checked: `web-2`" in markdown
    assert "UALICE" in markdown
    parsed = json.loads(data)
    assert parsed["words"]["causes"][0]["confidence"] == "high"
    assert parsed["hosts"]["affected"] == ["web-1"]
    await house.stop()


async def test_a_form_that_cannot_be_written_down_is_not_acknowledged() -> None:
    house = await looked(World(), GOOD)
    edit = form(house, title="lost?")
    house.world.store.outage.reason = "The disk is full."
    with pytest.raises(StoreError):
        await house.send(edit)
    house.world.store.outage.reason = ""
    await house.quiet()
    assert (await stored(house)).words.title == "web-1 out of disk space"
    await house.stop()
