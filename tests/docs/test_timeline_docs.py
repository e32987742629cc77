"""The timeline in the documentation is what such an incident leaves: the story is played, and told anew."""

import difflib
import re
from pathlib import Path

from opsbot.domain import AssistantMessage, UserMessage
from opsbot.minutes import digest_of
from opsbot.timeline import timeline
from tests.scenario.house import ALICE, BOB, THREAD, House, World
from tests.scripted_model import Say, call

PAGE = Path(__file__).resolve().parents[2] / "docs/timeline.md"


async def told() -> str:
    """Play the story of the page and return its timeline, with an id and a digest that are always the same."""
    house = House(World())
    await house.start()
    restart = call("restart_service", "c1", hosts=["web-1"], unit="nginx")
    house.world.model.add(
        call("server_status", "c0", hosts=["web-1"]),
        Say("nginx uses twice the memory of web-2's. I ask for a restart.", (restart,)),
        "nginx was restarted and is active again.",
    )
    await house.says(ALICE, "web-1 is slow, what is wrong?")
    house.world.clock.advance(25)
    await house.clicks(ALICE, "approve")
    house.world.clock.advance(15)
    await house.clicks(BOB, "approve")
    await house.passes(6)
    records = await house.world.store.audit.read()
    said = (await house.world.store.conversations.load(THREAD)).messages
    words = {str(digest_of(m.text)["sha256"]): m.text for m in said if isinstance(m, UserMessage | AssistantMessage)}
    await house.stop()
    text = timeline(records, words, title="Timeline of a conversation", remark="each fits the audit key")
    request = house.approval
    text = text.replace(request.id, "7KQ2M4AB").replace(request.digest[:12], "9f2c41d07ab3")
    return re.sub(r"\([0-9]+d [0-9]+h\)", "(19d 17h)", text)  # how long it runs is by today's clock


async def test_the_sample_timeline_is_what_the_bot_leaves() -> None:
    (sample,) = re.findall(r"^````markdown\n(.*?)^````$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    made = await told()
    assert sample == made, "\n".join(difflib.unified_diff(sample.splitlines(), made.splitlines(), lineterm=""))
