"""Pictures that people show: taken in once, kept, shown to the model, told of in words, and never trusted."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from opsbot.domain import Attachment, IncomingMessage, Picture, Place, UserMessage
from opsbot.errors import BadArguments, ChatError
from opsbot.pictures import KEPT_BYTES, KEPT_FOR, MAX_BYTES, MAX_IN_REQUEST, Developed, wanted
from opsbot.ports import ModelRequest
from opsbot.sights import NO_MODEL
from opsbot.taint import PICTURES
from tests.scenario.house import ALICE, THREAD, House, World
from tests.scripted_model import Say, ScriptedModel, call


def attachment(number: int = 1, **changes: object) -> Attachment:
    made = Attachment(f"F{number}", f"shot-{number}.png", "image/png", 1000, f"https://files/{number}")
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class FakeAttachments:
    """Files by id; `asked` and `fetched` say what was wanted of it."""

    message: tuple[Attachment, ...] = ()
    thread: tuple[Attachment, ...] = ()
    failure: ChatError | None = None
    fetched: list[str] = field(default_factory=list)

    async def of_message(self, place: Place, message_id: str) -> tuple[Attachment, ...]:
        return self.message

    async def of_thread(self, place: Place, *, before: str) -> tuple[Attachment, ...]:
        return self.thread

    async def download(self, attachment: Attachment) -> bytes:
        self.fetched.append(attachment.file_id)
        if self.failure:
            raise self.failure
        return f"raw {attachment.file_id}".encode()


class FakeDarkroom:
    """Takes everything but what is called bad."""

    async def develop(self, raw: bytes) -> Developed:
        if b"F66" in raw:
            raise BadArguments("its content is a web page, not PNG, JPEG, WebP or GIF. Send a screenshot")
        return Developed("image/png", 640, 480, b"\x89PNG " + raw)


def world(*replies: object, **changes: object) -> World:
    model = ScriptedModel(*replies)  # type: ignore[arg-type]
    made = World(model=model, attachments=FakeAttachments(), darkroom=FakeDarkroom())
    return replace(made, **changes)  # type: ignore[arg-type]


async def shows(house: House, text: str, *files: Attachment, told: bool = True, number: int = 1) -> None:
    event = IncomingMessage(THREAD, ALICE, text, f"18.{number}", files=files, files_told=told)
    await house.send(event, f"shown:{number}")
    await house.quiet()


def keys(request: ModelRequest) -> list[str]:
    return sorted(request.pictures)


async def history(house: House) -> list[UserMessage]:
    conversation = await house.world.store.conversations.load(THREAD)
    return [m for m in conversation.messages if isinstance(m, UserMessage)]


async def test_a_picture_goes_with_the_question_and_with_the_next_one_and_is_fetched_once() -> None:
    house = House(world("nginx is down", "still"))
    await house.start()
    await shows(house, "what is this?", attachment())
    await shows(house, "and now?", number=2)
    first, second = house.world.model.requests
    assert keys(first) == keys(second) == ["T1/F1"]
    assert first.pictures["T1/F1"].content == b"\x89PNG raw F1"
    assert house.world.attachments.fetched == ["F1"]  # type: ignore[union-attr]
    (picture,) = (await history(house))[0].pictures
    assert (picture.name, picture.width, picture.trouble) == ("shot-1.png", 640, "")
    await house.stop()


async def test_after_a_restart_the_picture_is_there_and_not_fetched_again() -> None:
    around = world("I see")
    house = House(around)
    await house.start()
    await shows(house, "look", attachment())
    await house.stop()
    around.store.outage.reason = ""  # type: ignore[attr-defined]
    around.model.add("as before")
    again = House(around)
    await again.start()
    await shows(again, "once more", attachment(), number=2)
    assert keys(around.model.requests[-1]) == ["T1/F1"]
    assert around.attachments.fetched == ["F1"]  # type: ignore[union-attr]
    await again.stop()


async def test_what_is_proposed_after_a_picture_carries_the_mark() -> None:
    house = House(world(Say(calls=(call("restart_service", hosts=["web-1"], unit="nginx"),))))
    await house.start()
    await shows(house, "as the picture says", attachment())
    assert PICTURES in house.approval.tainted_by
    await house.stop()


async def test_the_audit_names_pictures_by_their_hash() -> None:
    house = House(world("I see"))
    await house.start()
    await shows(house, "look", attachment())
    (asked,) = [r.entry for r in await house.world.store.audit.read() if r.entry.kind == "conversation.asked"]
    assert asked.facts["pictures"] == [(await history(house))[0].pictures[0].digest]
    await house.stop()


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (attachment(66), "shot-66.png: its content is a web page"),
        (attachment(size_bytes=MAX_BYTES + 1), "shot-1.png: it has 10 MB"),
        (attachment(name="boot.log", mimetype="text/plain"), "boot.log: it is no picture"),
        (attachment(name="x\u202egnp.exe", mimetype="application/x-dosexec"), "gnp.exe: it is no picture"),
    ],
)
async def test_what_cannot_be_looked_at_is_said_and_the_turn_goes_on(shown: Attachment, said: str) -> None:
    house = House(world("I cannot see it"))
    await house.start()
    await shows(house, "look", shown)
    assert any(said in line for line in house.seen)
    assert "\u202e" not in "".join(house.seen)
    assert "I cannot see it" in house.seen
    assert keys(house.world.model.requests[0]) == []
    assert (await history(house))[0].shown == ()
    await house.stop()


async def test_what_cannot_be_fetched_is_said_with_the_reason() -> None:
    house = House(world("no", attachments=FakeAttachments(failure=ChatError("it is not there any more"))))
    await house.start()
    await shows(house, "look", attachment())
    assert "• shot-1.png: it is not there any more." in house.seen
    await house.stop()


async def test_of_many_pictures_the_first_four_are_taken() -> None:
    house = House(world("many"))
    await house.start()
    await shows(house, "look", *(attachment(n) for n in range(1, 7)))
    assert keys(house.world.model.requests[0]) == ["T1/F1", "T1/F2", "T1/F3", "T1/F4"]
    assert "• shot-5.png: I look at 4 pictures of one message." in house.seen
    await house.stop()


async def test_a_mention_without_its_files_is_read_once_more() -> None:
    house = House(world("I see", attachments=FakeAttachments(message=(attachment(3),))))
    await house.start()
    await shows(house, "look", told=False)
    assert keys(house.world.model.requests[0]) == ["T1/F3"]
    await house.stop()


async def test_pictures_earlier_in_the_thread_count_when_the_bot_is_first_called() -> None:
    log = attachment(9, name="boot.log", mimetype="text/plain")
    found = FakeAttachments(thread=(log, *(attachment(n) for n in range(1, 7))))
    house = House(world("I see", "yes", attachments=found))
    await house.start()
    await shows(house, "what is wrong?", attachment(8))
    assert keys(house.world.model.requests[0]) == ["T1/F4", "T1/F5", "T1/F6", "T1/F8"]
    await shows(house, "and?", number=2)
    assert len(found.fetched) == 4
    await house.stop()


async def test_without_a_model_nothing_is_fetched_and_it_is_said_plainly() -> None:
    house = House(world("I match phrases", unable_to_look=NO_MODEL))
    await house.start()
    await shows(house, "look", attachment())
    assert f"• shot-1.png: {NO_MODEL}." in house.seen
    assert house.world.attachments.fetched == []  # type: ignore[union-attr]
    await house.stop()


async def test_a_repeat_after_a_crash_is_one_message_even_if_its_picture_is_gone_meanwhile() -> None:
    house = House(world("I see"))
    await house.start()
    await shows(house, "look", attachment())
    (message,) = await history(house)
    gone = replace(message, pictures=(Picture("T1/F1", "shot-1.png", trouble="it is not there any more"),))
    await house.service._parts.dialogue.hear(THREAD, gone)
    assert await history(house) == [message]
    await house.stop()


async def test_old_pictures_and_too_many_are_forgotten() -> None:
    house = House(world("I see"))
    await house.start()
    await shows(house, "look", attachment())
    await house.passes(60)
    assert await house.world.store.pictures.get(["T1/F1"])
    house.world.clock.advance(KEPT_FOR.total_seconds())
    await house.passes(60)
    assert not await house.world.store.pictures.get(["T1/F1"])
    assert timedelta(days=7) < KEPT_FOR
    assert KEPT_BYTES >= 10 * MAX_BYTES
    await house.stop()


def test_of_a_long_history_the_newest_pictures_are_sent() -> None:
    at = World().clock.now()
    said = [UserMessage("x", ALICE, at, (Picture(f"T1/F{n}", "a.png", "d", 1, 1),)) for n in range(10)]
    assert wanted(said) == tuple(f"T1/F{n}" for n in range(9, 9 - MAX_IN_REQUEST, -1))


async def test_a_picture_counts_in_what_a_conversation_may_hold() -> None:
    from opsbot.compaction import tokens_of

    said = UserMessage("x", ALICE, World().clock.now())
    shown = replace(said, pictures=(Picture("T1/F1", "a.png", "d", 1600, 900),))
    assert tokens_of(shown) - tokens_of(said) == 85 + 50 * 29


async def test_the_estimate_of_a_request_counts_its_pictures() -> None:
    from opsbot.hearing import Heard
    from opsbot.metering import estimate

    small = ModelRequest("", (), ())
    large = replace(small, pictures={"T1/F1": Developed("image/png", 1600, 900, b"")})
    assert estimate(large, Heard()).input_tokens - estimate(small, Heard()).input_tokens == 85 + 50 * 29
