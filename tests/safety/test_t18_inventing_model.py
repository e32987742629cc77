"""T18: a model that invents tools, hosts, fields and success: nothing that does not fit is ever run or asked for."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from opsbot.domain import ApprovalState, AuditRecord, Card, IncomingMessage, Place, ToolCall
from opsbot.errors import BadArguments
from opsbot.ports import Store
from tests.safety.conftest import Figures, Scale
from tests.safety.hostile_calls import Liar
from tests.safety.hostile_names import hostile
from tests.scenario.house import ALICE, BOB, GROUPS, HOSTS, THREAD, House, World
from tests.scripted_model import Say, call

UNITS = ("nginx", "brittle", "redis-server")
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "null": type(None),
}


class Doubled(Exception):
    """A key stands twice in an object."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Doubled
    return dict(pairs)


def fits(schema: dict[str, Any], text: str) -> bool:
    """Whether the arguments fit the schema the model was shown. Said anew here, strictly, not by the bot's code."""
    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=lambda _: 1 / 0)
    except (ValueError, Doubled, ZeroDivisionError, RecursionError):
        return False
    if not isinstance(value, dict) or set(value) - set(schema["properties"]):
        return False
    if set(schema.get("required", ())) - set(value):
        return False
    return all(_is(schema["properties"][name], each) for name, each in value.items())


def _is(schema: dict[str, Any], value: Any) -> bool:
    if "anyOf" in schema:
        return any(_is(each, value) for each in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds and not any(
        isinstance(value, TYPES[kind]) and (kind == "boolean") == isinstance(value, bool) for kind in kinds
    ):
        return False
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return False
    if isinstance(value, list):
        return len(value) >= schema.get("minItems", 0) and all(_is(schema.get("items", {}), each) for each in value)
    return True


def invented(rng: random.Random, house: House, number: int) -> ToolCall:
    """A call as a model would make it that half remembers its tools."""
    specs = [*house.catalogue.registry.shown(()), *house.catalogue.registry.deferred()]
    spec = rng.choice(specs)
    arguments: dict[str, Any] = {}
    for name in spec.schema["properties"]:  # type: ignore[union-attr, call-overload]
        if rng.random() < 0.8:
            arguments[name] = rng.choice(
                (
                    ["web-1"],
                    ["web"],
                    ["all"],
                    rng.choice(UNITS),
                    rng.choice(UNITS),
                    5,
                    10**30,
                    -1,
                    True,
                    None,
                    [],
                    "",
                    {},
                    [[]],
                    3.5,
                    ["web-1"] * 2_000,
                    rng.choice(hostile(60, 3, ("nginx",))),
                    [rng.choice(hostile(60, 4, ("web-1",)))],
                )
            )
    text = json.dumps(arguments)
    match rng.randrange(12):
        case 0:
            text = text[: rng.randrange(len(text))]
        case 1:
            text = text[:-1] + (", " if arguments else "") + '"hosts": ["db-1"], "hosts": ["web-1"]}'
        case 2:
            text = text[:-1] + (", " if arguments else "") + '"force": true}'
        case 3:
            text = text.replace("5", "NaN").replace("3.5", "Infinity")
        case 4:
            text = f"```json\n{text}\n```"
        case 5:
            text = text + text
        case 6:
            text = "[" * 5_000
    tool = (
        spec.name
        if rng.random() < 0.85
        else rng.choice(("shell", "run_command", "approve", "restart-service", "../x", ""))
    )
    return ToolCall(f"c{number}", tool, text)


def test_nothing_that_does_not_fit_is_accepted(figures: Figures, scale: Scale) -> None:
    """The catalogue is the one way to the executor; whatever it takes fits the schema and names known hosts."""
    house, rng = House(World()), random.Random(18)
    specs = {spec.name: spec for spec in (*house.catalogue.registry.shown(()), *house.catalogue.registry.deferred())}
    taken = wrongly = 0
    for number in range(made := scale(1_500, 10_000)):
        asked = invented(rng, house, number)
        try:
            prepared = house.catalogue.from_call(asked)
        except BadArguments:
            continue
        taken += 1
        fitting = asked.tool in specs and fits(dict(specs[asked.tool].schema), asked.arguments)  # type: ignore[arg-type]
        wrongly += not fitting or not set(prepared.action.hosts) <= set(HOSTS)
        assert not wrongly, asked
    figures.note(invented_calls=made, taken_because_they_fit=taken, taken_though_they_do_not=wrongly)
    assert taken > made // 100, "calls that never fit prove nothing"


@pytest.mark.timeout(600)
async def test_a_thousand_inventing_replies_act_on_nothing(figures: Figures, scale: Scale) -> None:
    """Through the whole house, many calls at once: no service is touched, and every call gets exactly one result."""
    model = Liar()
    world = World(model=model)
    house, rng = House(world), random.Random(19)
    await house.start()
    for number in range(replies := scale(60, 1_000)):
        calls = tuple(invented(rng, house, 100 * number + n) for n in range(rng.choice((1, 3, 50))))
        model.add(Say("Restarted, all green.", calls=calls))
        place = Place("T1", "C1", f"17{number}.1")
        await house.send(IncomingMessage(place, ALICE, "look", f"m{number}"))
        await house.quiet(60)
        conversation = await world.store.conversations.load(place)
        results = Counter(m.call_id for m in conversation.messages if hasattr(m, "call_id"))
        assert max(results.values(), default=1) == 1
        model.forget()
    await house.stop()
    figures.note(inventing_replies=replies, services_touched=sum(world.machines.done.values()))
    assert not world.machines.done


async def records(store: Store) -> list[AuditRecord]:
    found: list[AuditRecord] = []
    while page := await store.audit.read(after=found[-1].seq if found else 0):
        found += page
    return found


@pytest.mark.parametrize("unit", ["nginx", "brittle"])
async def test_what_the_card_says_in_the_end_is_what_was_recorded(unit: str, figures: Figures) -> None:
    """The model claims success either way; card, record and audit agree, and only the host decides."""
    world = World(model=Liar())
    world.model.add(Say("Restarting.", calls=(call("restart_service", hosts=["web-1"], unit=unit),)))
    house = House(world)
    await house.start()
    await house.says(ALICE, f"restart {unit}", THREAD)
    await house.passes(3)
    await house.clicks(BOB, "approve")
    await house.stop()
    card = house.cards()[-1].content
    assert isinstance(card, Card)
    stored = await world.store.approvals.get(card.approval.id)
    last = [r for r in await records(world.store) if r.entry.approval_id == card.approval.id][-1]
    wanted = ApprovalState.DONE if unit == "nginx" else ApprovalState.FAILED
    assert stored is not None
    assert {card.approval.state, stored.state, last.entry.facts["state"]} == {wanted}
    figures.add(final_states_that_agree=1)


def test_the_checker_of_this_module_knows_what_fits() -> None:
    spec = next(spec for spec in House(World()).catalogue.registry.shown(()) if spec.name == "restart_service")
    schema = dict(spec.schema)
    assert fits(schema, '{"hosts": ["web-1"], "unit": "nginx"}')  # type: ignore[arg-type]
    for wrong in ("{}", '{"hosts": [], "unit": "x"}', '{"hosts": "web-1", "unit": "x"}', '{"hosts": ["a"], "unit": 5}'):
        assert not fits(schema, wrong)  # type: ignore[arg-type]
    assert GROUPS
