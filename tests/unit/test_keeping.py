"""Long answers: kept whole and clean, shown by their ends, read on by the thread that made them and by no other."""

import json

import pytest

from opsbot.domain import AssistantMessage, Conversation, Json, Place, ToolCall, ToolResult, UserMessage
from opsbot.errors import BadArguments
from opsbot.intake import Intake, as_json
from opsbot.keeping import Keeper
from opsbot.output_spec import READ_OUTPUT, READ_OUTPUT_SPEC
from opsbot.redact import HIDDEN, Redactor
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore
from tests.scenario.house import ALICE, THREAD

SECRET = "canary-Value-123456"
CALL = ToolCall("c1", "service_logs", '{"hosts": ["web-1"], "unit": "nginx"}')
LOG = as_json({"results": {"web-1": {"lines": [f"12:00:00 nginx: line {number} is fine" for number in range(2000)]}}})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def keeper(store) -> Keeper:
    return Keeper(store.outputs, Intake(Redactor((SECRET,))), FakeClock())


async def kept(keeper: Keeper, content: str = LOG, *, untrusted: bool = True) -> ToolResult:
    return await keeper.result(THREAD.key, CALL, content, failed=False, untrusted=untrusted)


def thread(result: ToolResult, place: Place = THREAD) -> Conversation:
    asked = UserMessage("logs?", ALICE, FakeClock().now())
    return Conversation(place, (asked, AssistantMessage("", (CALL,)), result), 3)


async def read(keeper: Keeper, conversation: Conversation, **arguments: Json) -> dict[str, Json]:
    result = await keeper.read(conversation, ToolCall("c2", READ_OUTPUT, json.dumps(arguments)))
    assert (result.call_id, bool(result.nonce), result.kept) == ("c2", True, False)
    return dict(json.loads(result.content))


async def test_a_short_answer_is_a_result_and_nothing_is_kept(keeper, store):
    result = await kept(keeper, '{"results": {"web-1": 1}}')
    assert (result.content, result.kept) == ('{"results": {"web-1": 1}}', False)
    assert store.outputs.kept == {}


async def test_a_long_answer_is_shown_by_its_ends_with_its_size_and_its_reference(keeper):
    result = await kept(keeper)
    assert result.kept
    assert len(result.content) < 7_000
    assert result.content.startswith("[2,003 lines, 78,918 characters, ")
    assert f"kept whole as ref {result.ref} for read_output" in result.content
    assert "line 0 is fine" in result.content
    assert "line 1999 is fine" in result.content
    assert "line 1000 is fine" not in result.content


async def test_every_line_of_it_can_be_read(keeper):
    result = await kept(keeper)
    seen, line = [], 1
    while line:
        answer = await read(keeper, thread(result), ref=result.ref, line=line, lines=200)
        seen += answer["lines"]
        line = answer.get("next_line", 0)
    assert len(seen) == 2003
    assert seen[1003] == "1004:       12:00:00 nginx: line 1000 is fine"


async def test_one_line_is_found_and_told_with_the_call_and_its_time(keeper):
    answer = await read(keeper, thread(await kept(keeper)), ref=(await kept(keeper)).ref, grep="LINE 1234 ")
    assert answer == {
        "of": 'service_logs {"hosts": ["web-1"], "unit": "nginx"}',
        "read_at": FakeClock().now().isoformat(timespec="seconds"),
        "total_lines": 2003,
        "matches": 1,
        "lines": ["1238:       12:00:00 nginx: line 1234 is fine"],
    }


async def test_another_thread_cannot_read_it(keeper):
    result = await kept(keeper)
    other = Conversation(Place("T1", "C1", "other"))
    with pytest.raises(BadArguments, match="No output"):
        await read(keeper, other, ref=result.ref)


@pytest.mark.parametrize("ref", ["", "x", "%", "0" * 64])
async def test_a_reference_that_names_nothing_is_refused(keeper, ref):
    unfenced = ToolResult("c1", "words")
    with pytest.raises(BadArguments, match="No output"):
        await read(keeper, thread(unfenced), ref=ref)


@pytest.mark.parametrize(
    "arguments",
    ["", "{}", "[]", '{"ref": 5}', '{"ref": "x", "lines": 201}', '{"ref": "x", "path": "/etc/shadow"}', '{"ref": "x"'],
)
async def test_what_it_cannot_understand_it_explains(keeper, arguments):
    with pytest.raises(BadArguments, match="read_output takes ref, grep, line and lines"):
        await keeper.read(thread(await kept(keeper)), ToolCall("c2", READ_OUTPUT, arguments))


async def test_a_search_for_nothing_is_refused(keeper):
    result = await kept(keeper)
    with pytest.raises(BadArguments, match="grep holds no text"):
        await read(keeper, thread(result), ref=result.ref, grep="|")


async def test_secrets_are_hidden_before_anything_is_kept(keeper, store):
    lines = [f"line {number}" for number in range(3000)]
    lines[1500:1500] = [f"password: {SECRET}", "canary-Val", "ue-123456", "\\n".join(("canary-", "Value-123456"))]
    result = await kept(keeper, as_json({"lines": lines}))
    (output,) = store.outputs.kept.values()
    for fragment in (SECRET, "ue-123456", "Value-123456"):
        assert fragment not in output.text
        assert fragment not in result.content
    assert HIDDEN in output.text


async def test_it_stays_what_it_was_in_trust(keeper):
    for untrusted in (True, False):
        result = await kept(keeper, untrusted=untrusted)
        answer = await keeper.read(thread(result), ToolCall("c2", READ_OUTPUT, json.dumps({"ref": result.ref})))
        assert (result.untrusted, answer.untrusted) == (untrusted, untrusted)


async def test_a_result_of_the_history_is_read_by_its_reference_too(keeper):
    short = keeper.intake.result("c1", as_json({"lines": ["one" * 99, "two needle", "three"]}), untrusted=True)
    answer = await read(keeper, thread(short), ref=short.ref, grep="needle")
    assert answer["lines"] == ["3:   two needle"]
    assert answer["of"] == 'service_logs {"hosts": ["web-1"], "unit": "nginx"}'


async def test_what_is_gone_from_the_store_can_still_be_read_by_its_ends(keeper, store):
    result = await kept(keeper)
    store.outputs.kept.clear()
    answer = await read(keeper, thread(result), ref=result.ref, line=-1)
    assert "line 1999 is fine" in answer["lines"][0]


async def test_marks_of_the_fence_do_not_stand_in_what_is_fenced(keeper):
    result = await kept(keeper, as_json({"lines": ["</data 0123456789ab>"] * 3000}))
    assert result.nonce not in result.content
    assert result.ref != result.nonce


async def test_twenty_megabytes_are_bounded_and_their_end_is_searched(keeper, store):
    lines = [f"12:00:00 nginx: request {number} took its time and was served" for number in range(350_000)]
    lines[-9000] = "12:00:01 nginx: upstream prematurely closed connection"
    content = as_json({"results": {"web-1": {"stdout": "\n".join(lines)}}})
    assert len(content) > 20_000_000
    result = await kept(keeper, content)
    (output,) = store.outputs.kept.values()
    assert len(output.text) < 4_200_000
    answer = await read(keeper, thread(result), ref=result.ref, grep="prematurely")
    assert answer["matches"] == 1
    assert "upstream prematurely closed" in answer["lines"][0]


def test_the_tool_is_told_in_few_words():
    assert len(json.dumps(READ_OUTPUT_SPEC.schema)) + len(READ_OUTPUT_SPEC.description) < 500
