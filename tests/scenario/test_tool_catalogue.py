"""Deferred tools, and `do`: how rarely used tools are found and called, by the model and by people."""

import pytest

from opsbot.discovery import DESCRIBE_TOOLS, Registry, load_tools
from opsbot.errors import ToolDefinitionError
from tests.scenario.house import ALICE, THREAD, House, World
from tests.scripted_model import Say, call, results_of

TOOL = '''
from opsbot import Context, Host, tool


@tool(risk="read", deferred=True)
def {name}(ctx: Context, host: Host, count: int = 1, wide: bool = False, label: str = "") -> dict[str, object]:
    """Count {name} things.

    And more about it.

    Args:
        count: How many.
        wide: Whether all.
        label: A word.
    """
    return {{"counted": count, "wide": wide, "label": label}}
'''


@pytest.fixture
async def house(tmp_path):
    for name in ("alpha_things", "beta_things"):
        (tmp_path / f"{name}.py").write_text(TOOL.format(name=name))
    house = House(World(), tools=(tmp_path,))
    await house.start()
    yield house
    await house.stop()


def names(request) -> list[str]:
    return [spec.name for spec in request.tools]


async def test_a_first_request_names_deferred_tools_without_their_schemas(house):
    house.world.model.add("Hello.")
    await house.says(ALICE, "hi")
    (request,) = house.world.model.requests
    assert "alpha_things" not in names(request)
    assert {"alpha_things", "beta_things"} <= {spec.name for spec in request.deferred}
    described = next(spec for spec in request.tools if spec.name == DESCRIBE_TOOLS)
    assert "alpha_things, beta_things" in described.description


async def test_what_the_model_asked_for_stays_shown_in_the_thread_and_comes_last(house):
    house.world.model.add(
        call(DESCRIBE_TOOLS, "c1", names=["beta_things"]),
        call("beta_things", "c2", hosts=["web-1"], count=3),
        "Three.",
        "Still here.",
    )
    await house.says(ALICE, "count beta things on web-1")
    first, second, third = house.world.model.requests
    assert names(second) == [*names(first), "beta_things"] == names(third)
    assert results_of(second)["c1"] == {"beta_things": "Count beta_things things."}
    assert results_of(third)["c2"]["results"]["web-1"]["counted"] == 3
    await house.says(ALICE, "and again?")
    assert names(house.world.model.requests[-1]) == names(third)


async def test_the_shown_tools_begin_with_the_same_bytes_in_every_request(house):
    house.world.model.add(call(DESCRIBE_TOOLS, "c1", names=["alpha_things"]), "Seen.")
    await house.says(ALICE, "what is there?")
    first, second = house.world.model.requests
    assert second.tools[: len(first.tools)] == first.tools
    assert second.system == first.system


@pytest.mark.parametrize(
    "arguments", [{}, {"names": []}, {"names": "alpha_things"}, {"names": ["nope"]}, {"names": [1]}], ids=str
)
async def test_an_unusable_request_for_tools_is_explained(house, arguments):
    house.world.model.add(call(DESCRIBE_TOOLS, "c1", **arguments), "I see.")
    await house.says(ALICE, "what is there?")
    second = house.world.model.requests[1]
    assert "error" in results_of(second)["c1"]
    assert names(second) == names(house.world.model.requests[0])


async def test_a_deferred_tool_called_without_asking_is_run_and_shown_from_then_on(house):
    house.world.model.add(Say("", (call("alpha_things", "c1", hosts=["web-1"]),)), "One.")
    await house.says(ALICE, "count")
    assert results_of(house.world.model.requests[1])["c1"]["results"]["web-1"]["counted"] == 1
    assert names(house.world.model.requests[1])[-1] == "alpha_things"


async def test_do_calls_any_tool_with_arguments_by_name(house):
    await house.types(ALICE, "do alpha_things web-1 count=7 wide=true label=5", place=THREAD)
    (text,) = (str(message.content) for message in house.world.chat.messages)
    for word in ("7", "True", "'5'"):
        assert word in text or word.strip("'") in text


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("do alpha_thing web-1", "Did you mean alpha_things"),
        ("do alpha_things web-1 count=many", "count"),
        ("do alpha_things web-1 size=3", "size"),
        ("do alpha_things", "hosts"),
        ("do list_hosts web-1", "not about a host"),
        ("do restart_service web-1", "unit"),
    ],
)
async def test_do_explains_what_is_wrong(house, command, says):
    await house.types(ALICE, command)
    assert says in house.whispered
    assert not house.cards()


async def test_do_asks_for_approval_of_a_writing_tool(house):
    await house.types(ALICE, "do restart_service web-1 unit=nginx because it leaks")
    assert house.approval.action.arguments == {"unit": "nginx.service"}
    assert house.approval.reason == "it leaks"


def test_no_tool_file_may_take_the_name_of_the_describing_call(tmp_path):
    (tmp_path / "mine.py").write_text(TOOL.format(name=DESCRIBE_TOOLS))
    with pytest.raises(ToolDefinitionError, match="opsbot's own"):
        load_tools([tmp_path])


def test_without_deferred_tools_nothing_is_added():
    assert Registry(()).shown(("anything",)) == ()
