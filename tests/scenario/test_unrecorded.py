"""While the database cannot be written people can look, and nothing else; and whatever is refused leaves a line."""

import asyncio

import pytest

from opsbot import looking
from opsbot.domain import ApprovalState, IncomingDecision, IncomingMessage
from opsbot.errors import StoreError
from tests.scenario.house import ALICE, BOB, CAROL, CHANNEL, THREAD, House, World

FULL = "The disk is full."


@pytest.fixture
async def house():
    house = House(World())
    await house.start()
    yield house
    await house.stop()


async def kinds(house: House) -> list[str]:
    return [record.entry.kind for record in await house.world.store.audit.read()]


async def test_a_command_that_looks_is_answered_and_says_that_it_is_not_recorded(house: House) -> None:
    house.world.store.outage.reason = FULL
    await house.types(ALICE, "status web-1")
    assert "Not recorded in the audit log: The disk is full." in house.whispered
    assert "nothing can be changed" in house.whispered
    assert "web-1" in house.whispered.split("nothing can be changed")[1]
    await house.types(ALICE, "do server_status web-2")
    assert "web-2" in house.whispered
    house.world.store.outage.reason = ""
    assert await kinds(house) == []


async def test_a_recorded_look_says_nothing_of_it(house: House) -> None:
    await house.types(ALICE, "status web-1")
    assert "ecorded" not in house.whispered
    (record,) = await house.world.store.audit.read()
    assert (record.entry.kind, record.entry.actor) == ("call.finished", ALICE.key)
    assert record.entry.facts["tool"] == "server_status"
    assert record.entry.facts["arguments"] == '{"hosts": ["web-1"]}'


async def test_a_look_whose_record_takes_long_is_answered_first(house: House, monkeypatch) -> None:
    monkeypatch.setattr(looking, "_RECORD_S", 0.01)
    append, gate = house.world.store.audit.append, asyncio.Event()

    async def slow(entry):
        await gate.wait()
        return await append(entry)

    monkeypatch.setattr(house.world.store.audit, "append", slow)
    await house.types(ALICE, "status web-1")
    assert "takes more than" in house.whispered
    assert await kinds(house) == []
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert await kinds(house) == ["call.finished"]


@pytest.mark.parametrize(
    "text", ["restart nginx web-1", "do restart_service web-1 unit=nginx", "ask how is web-1", "reset"]
)
async def test_whatever_would_have_to_be_written_is_refused(house: House, text: str) -> None:
    house.world.store.outage.reason = FULL
    await house.types(ALICE, text)
    assert "Nothing was done" in house.whispered
    assert FULL in house.whispered
    assert "/ops status" in house.whispered
    assert not house.world.machines.restarts


async def test_words_are_told_once_and_answered_when_they_come_again(house: House) -> None:
    house.world.model.add("Hello.")
    message = IncomingMessage(THREAD, ALICE, "hi", "17.1")
    house.world.store.outage.reason = FULL
    for _ in range(3):
        with pytest.raises(StoreError):
            await house.send(message, "same")
        await house.quiet()
    assert len(house.world.chat.whispers) == 1
    assert "I cannot answer" in house.whispered
    house.world.store.outage.reason = ""
    assert await house.send(message, "same")
    await house.quiet()
    assert "Hello." in house.seen


async def test_a_click_that_cannot_be_written_does_not_count_later_either(house: House) -> None:
    await house.types(ALICE, "restart nginx web-1")
    posted = house.cards()[-1]
    house.world.store.outage.reason = FULL
    assert await house.send(house.click(BOB, "approve", posted))
    await house.quiet()
    assert "does not count" in house.whispered
    house.world.store.outage.reason = ""
    await house.passes(30)
    assert house.approval.state is ApprovalState.PENDING
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE


async def test_who_may_not_ask_may_not_look_either(house: House) -> None:
    house.world.store.outage.reason = FULL
    await house.types(CAROL, "status web-1")
    assert "not on the list" in house.whispered
    assert "load" not in house.whispered


async def test_an_approved_action_waits_for_the_database_and_people_are_told_why(house: House, monkeypatch) -> None:
    await house.types(ALICE, "restart nginx web-1")
    change, refused = house.world.store.approvals.change, []

    async def full(approval, **rest):
        if approval.state is ApprovalState.EXECUTING:
            refused.append(approval.id)
            raise StoreError(FULL)
        return await change(approval, **rest)

    monkeypatch.setattr(house.world.store.approvals, "change", full)
    await house.clicks(BOB, "approve")
    await house.passes(6)
    assert len(refused) > 1
    told = [whisper.actor for whisper in house.world.chat.whispers if "Nothing is run" in str(whisper.content)]
    assert told == [ALICE, BOB]
    assert not house.world.machines.restarts
    monkeypatch.undo()
    await house.passes(6)
    assert house.approval.state is ApprovalState.DONE


async def test_an_intent_that_took_long_to_write_is_closed_and_not_run(house: House, monkeypatch) -> None:
    await house.types(ALICE, "restart nginx web-1")
    claim = house.world.store.operations.claim

    async def slow(*args, **kwargs):
        house.world.clock.advance(5)
        return await claim(*args, **kwargs)

    monkeypatch.setattr(house.world.store.operations, "claim", slow)
    await house.clicks(BOB, "approve")
    assert not house.world.machines.restarts
    assert house.approval.state is ApprovalState.FAILED
    assert "Not run: it took 5.0 s" in house.approval.outcomes[0].summary
    assert (await kinds(house))[-3:] == ["execution.intent", "execution.host", "execution.finished"]


@pytest.mark.parametrize(
    ("actor", "text", "kind"),
    [
        (CAROL, "status web-1", "person.refused"),
        (ALICE, "status web-9", "event.refused"),
        (ALICE, "nonsense", "event.refused"),
        (ALICE, "restart ssh web-1", "event.refused"),
        (ALICE, "restart nginx lab-1", "call.denied"),
        (ALICE, "explain ABCD", "event.refused"),
    ],
)
async def test_every_refused_command_has_one_line(house: House, actor, text: str, kind: str) -> None:
    await house.types(actor, text)
    assert await kinds(house) == [kind]


async def test_a_click_on_a_request_nobody_made_has_a_line(house: House) -> None:
    await house.send(IncomingDecision(CHANNEL, BOB, "ZZZZZZZZ", "approve", "17.1"))
    await house.quiet()
    assert await kinds(house) == ["event.refused"]
    await house.types(ALICE, "restart nginx web-1")
    await house.clicks(ALICE, "approve")
    assert (await kinds(house))[1:] == ["approval.requested", "decision.refused"]
