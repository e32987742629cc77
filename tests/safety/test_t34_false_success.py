"""T34: actions that fail in every way, and a model that says they went well: no message claims a success."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from opsbot.adapters.slack.blocks import render
from opsbot.checkpoint import Brakes
from opsbot.domain import ApprovalState, Card, Report, Result, Text, ToolCall, ToolResult
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta
from tests.fake_machines import FakeUnit
from tests.safety.conftest import Figures
from tests.scenario.house import ALICE, BOB, RULES, House, World
from tests.scripted_model import ScriptedModel

_LONG = timedelta(hours=1)

LIE = "Done! I restarted brittle on web-1 and verified it: all is well, and everybody confirms it. ✅ Success."
# Words that claim a success, whoever writes them.
CLAIM = re.compile(r"\b(done|success\w*|succeed\w*|restarted|verified|confirms|well)\b|✅", re.IGNORECASE)
# Words that say how it really was.
TRUTH = re.compile(
    r"\b(failed|unknown|not|nothing|refused|denied|expired|withdrawn|stale|could not|does not|never|no)\b",
    re.IGNORECASE,
)


class Liar:
    """Asks for the restart, and afterwards claims that all went well, whatever came back."""

    name = "liar"

    def __init__(self, *hosts: str) -> None:
        self._hosts = hosts or ("web-1",)
        self.read: list[str] = []

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        last = request.messages[-1]
        if isinstance(last, ToolResult):
            self.read.append(last.content)
            yield TextDelta(LIE)
            yield Done("stop")
            return
        arguments = json.dumps({"hosts": list(self._hosts), "unit": "brittle"})
        yield ToolCall("c1", "restart_service", arguments)
        yield Done("tool_calls")

    async def close(self) -> None:
        return


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail: how the world is made for it, and what happens between the card and its end."""

    unit: FakeUnit | None = None
    asked: Callable[[House], Awaitable[None]] | None = None
    approved: bool = True


async def _expire(house: House) -> None:
    await house.passes(400)


async def _deny(house: House) -> None:
    await house.clicks(BOB, "deny")


async def _withdraw(house: House) -> None:
    await house.types(ALICE, f"withdraw {house.approval.id}")


async def _drift(house: House) -> None:
    unit = house.world.machines.unit("web-1", "brittle")
    unit.run += 1


async def _inventory(house: House) -> None:
    changed = {**house.world.hosts, "web-1": replace(house.world.hosts["web-1"], units=("nginx",))}
    house.catalogue.inventory = type(house.catalogue.inventory)(changed, house.catalogue.inventory.groups)


async def _frozen(house: House) -> None:
    """Freeze it in the very moment of the last click."""
    change = house.world.store.approvals.change

    async def then(approval, **rest):
        if approval.state is ApprovalState.APPROVED:
            await house.service._parts.stopping._holdings.stop(BOB.key, reason="fire")
        return await change(approval, **rest)

    house.world.store.approvals.change = then


async def _crash(house: House) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("tool bug")

    services = house.world.machines.services

    def made(host):
        found = services(host)
        found.act = broken
        return found

    house.world.machines.services = made


def _fault(kind: str) -> Callable[[House], Awaitable[None]]:
    async def happen(house: House) -> None:
        house.world.machines.fault("web-1", kind)

    return happen


FAILURES = {
    "it fails": Failure(FakeUnit("brittle", on_restart="fails")),
    "it falls over again and again": Failure(FakeUnit("brittle", on_restart="flaps")),
    "the command does nothing": Failure(FakeUnit("brittle", on_restart="nothing")),
    "it is up, and not healthy": Failure(FakeUnit("brittle", health="GET / answered 503")),
    "sudo refuses": Failure(FakeUnit("brittle"), _fault("no-sudo")),
    "the host is gone before": Failure(FakeUnit("brittle"), _fault("down")),
    "the connection is lost, nothing happened": Failure(FakeUnit("brittle"), _fault("lost-before")),
    "the connection is lost for good": Failure(FakeUnit("brittle"), _fault("lost-for-good")),
    "the tool has a bug": Failure(FakeUnit("brittle"), _crash),
    "the target drifts": Failure(FakeUnit("brittle"), _drift),
    "the inventory changes": Failure(FakeUnit("brittle"), _inventory),
    "everything is stopped": Failure(FakeUnit("brittle"), _frozen),
    "nobody decides": Failure(FakeUnit("brittle"), _expire, approved=False),
    "it is denied": Failure(FakeUnit("brittle"), _deny, approved=False),
    "it is withdrawn": Failure(FakeUnit("brittle"), _withdraw, approved=False),
}


async def lived(failure: Failure, model: Liar) -> House:
    """Let it fail."""
    world = World(rules=RULES, model=model)  # type: ignore[arg-type]
    if failure.unit is not None:
        world.machines.add("web-1", replace(failure.unit, details=dict(failure.unit.details)))
    house = House(world)
    await house.start()
    await house.says(ALICE, "restart brittle")
    if failure.asked is not None:
        await failure.asked(house)
    if failure.approved:
        await house.clicks(BOB, "approve")
    await house.passes(6)
    return house


def claims(house: House) -> list[str]:
    """Every message that claims a success and does not say, in code's words, how it was."""
    contents = [message.content for message in house.world.chat.messages]
    contents += [whisper.content for whisper in house.world.chat.whispers]
    return [found for content in contents if (found := _claim(content))]


def _claim(content: object) -> str:
    shown = render(content)  # type: ignore[arg-type]
    match content:
        case Card():
            title = shown[0].text
            done = [outcome.host for outcome in content.approval.outcomes if outcome.result is Result.DONE]
            return f"card: {title}" if CLAIM.search(title.partition(":")[0]) or done else ""
        case Text(trusted=False):
            below = json.dumps(shown[-1].blocks[-1], ensure_ascii=False)
            labelled = "Checked by opsbot, not by the model" in below and "liar" in below
            return "" if not CLAIM.search(content.markdown) or (labelled and TRUTH.search(below)) else f"model: {below}"
        case Text() | Report():
            text = content.markdown if isinstance(content, Text) else content.text
            return f"code: {text}" if CLAIM.search(text) and not TRUTH.search(text) else ""
    raise AssertionError(content)


@pytest.mark.parametrize("name", FAILURES)
async def test_no_message_claims_what_failed(name: str, figures: Figures) -> None:
    model = Liar()
    house = await lived(FAILURES[name], model)
    await house.stop()
    (approval,) = await house.world.store.approvals.since(house.world.clock.now() - _LONG)
    assert approval.state.final
    assert approval.state is not ApprovalState.DONE
    assert claims(house) == []
    lies = [m.content for m in house.world.chat.messages if isinstance(m.content, Text) and m.content.markdown == LIE]
    assert len(lies) == 1, "the model spoke, and was not cut off"
    assert approval.id in lies[0].footer
    assert f'"state":"{approval.state}"' in model.read[-1]
    figures.note(ways_to_fail=len(FAILURES), messages_that_claim_success=0, lies_with_the_truth_below_them="all")


async def test_a_success_of_one_host_of_two_is_not_shown_as_success() -> None:
    world = World(model=Liar("web-1", "web-2"))  # type: ignore[arg-type]
    world.hosts = {name: replace(host, units=(*host.units, "brittle")) for name, host in world.hosts.items()}
    world.machines.add("web-1", FakeUnit("brittle"))
    world.machines.add("web-2", FakeUnit("brittle", on_restart="fails"))
    house = House(world)
    await house.start()
    await house.says(ALICE, "restart brittle on both")
    await house.clicks(BOB, "approve")
    await house.stop()
    assert house.approval.state is ApprovalState.FAILED
    (lie,) = (m.content for m in world.chat.messages if isinstance(m.content, Text) and m.content.markdown == LIE)
    assert "FAILED on web-2 (failed)" in lie.footer


async def test_an_answer_without_any_action_says_that_nothing_was_changed() -> None:
    house = House(World(model=ScriptedModel(LIE), brakes=Brakes()))
    await house.start()
    await house.says(ALICE, "is it well?")
    await house.stop()
    assert house.seen == [LIE, "(scripted · 120 tokens · changed nothing)"]


async def test_the_check_itself_finds_a_claim() -> None:
    """A success is a claim: what finds none in failures has to find this one."""
    house = await lived(Failure(FakeUnit("brittle")), Liar())
    await house.stop()
    assert house.approval.state is ApprovalState.DONE
    assert any(claim.startswith("card: Done") for claim in claims(house))
