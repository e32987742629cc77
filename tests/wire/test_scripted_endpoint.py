"""The scripted endpoint of the evaluation on the wire: our own model adapter reads it, and it reads what tools said."""

from datetime import UTC, datetime

from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.domain import Actor, AssistantMessage, Message, ToolCall, ToolResult, Usage, UserMessage
from opsbot.evaluation.scripted import NAME, scripted_endpoint
from opsbot.evaluation.tasks import ScriptedReply
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta

AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def said(model: OpenAIModel, *messages: Message) -> list[ModelEvent]:
    return [event async for event in model.reply(ModelRequest("be brief", messages, ()))]


async def test_a_script_is_played_with_values_from_results() -> None:
    replies = [
        ScriptedReply.model_validate({"calls": ({"tool": "server_status", "arguments": {"hosts": ["{{host}}"]}},)}),
        ScriptedReply(say='It is {{server_status~"used": (\\d+)}} % full.'),
    ]
    asked = UserMessage("how full?", Actor("T1", "U1"), AT)
    async with scripted_endpoint() as endpoint:
        model = OpenAIModel(ModelSettings(NAME, endpoint.base_url, "none", api="chat"))
        endpoint.begin(replies, {"host": "web-1"})
        first = await said(model, asked)
        (call,) = [event for event in first if isinstance(event, ToolCall)]
        assert (call.tool, call.arguments) == ("server_status", '{"hosts": ["web-1"]}')
        result = ToolResult(call.call_id, '{"used": 83}', nonce="n1")
        second = await said(model, asked, AssistantMessage("", (call,)), result)
        third = await said(model, asked)
        await model.close()
    assert "".join(event.text for event in second if isinstance(event, TextDelta)) == "It is 83 % full."
    assert Done("stop") in second
    (usage,) = [event for event in second if isinstance(event, Usage)]
    assert usage.input_tokens > 0
    assert "script has ended" in "".join(event.text for event in third if isinstance(event, TextDelta))
