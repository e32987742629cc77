"""Everything people are shown, with one hostile text in every place where a stranger's text can stand."""

import json
from collections.abc import Iterator

from opsbot.adapters.keyless_words import summary
from opsbot.domain import (
    ApprovalState,
    Card,
    Content,
    HostOutcome,
    Impact,
    Report,
    Result,
    Step,
    Table,
    Text,
    ToolResult,
)
from opsbot.intake import Intake
from opsbot.redact import Redactor
from tests import records

INTAKE = Intake(Redactor())
ASKER = "U0ASKER"


def contents(untrusted: str) -> Iterator[Content]:
    """Yield every kind of content. What the core writes itself may quote only what was taken in."""
    taken = INTAKE.text(untrusted)
    yield Text(untrusted, footer=untrusted)
    yield Text(f"before {untrusted} after")
    yield Text(f"<@{ASKER}> asks: {taken}", trusted=True)
    yield Text(f"web-1: `cat` ended with status 1: {taken}", trusted=True)
    yield Text(f"Request 7KQ2M4 waits: {taken}", trusted=True, to=(f"user:{ASKER}",))
    yield Report(
        taken,
        tables=(
            Table(("a", untrusted), ((untrusted, "b"), ("c", untrusted)), untrusted),
            Table(("x",), ((untrusted,),)),
        ),
        blocks=((untrusted, untrusted), ("log", f"one\n{untrusted}\ntwo")),
        errors=((untrusted, untrusted), ("web-1", untrusted)),
    )
    outcome = HostOutcome("web-1", Result.FAILED, untrusted, untrusted, ((untrusted, untrusted),))
    for state in ApprovalState:
        made = records.approval(
            reason=untrusted,
            note=untrusted,
            state=state,
            impacts={"web-1": Impact(((untrusted, untrusted),)), "web-2": Impact(())},
            outcomes=(outcome,) if state is ApprovalState.FAILED else (),
        )
        yield Card(made, (Step("web-1", "running", untrusted), Step(untrusted, "waiting")))
    yield Text(said_without_a_model(untrusted))


def said_without_a_model(untrusted: str) -> str:
    """What the keyless model makes of results that hold this text."""
    logs = {"results": {"web-1": {"unit": "nginx", "lines": ["a", untrusted, "b"]}}, "errors": {"web-2": untrusted}}
    ended = {
        "approval": "7KQ2M4",
        "state": "failed",
        "outcomes": [{"host": "web-1", "result": "failed", "summary": untrusted, "evidence": f"x\n{untrusted}\ny"}],
    }
    values = (("c1", logs), ("c2", ended), ("c3", {"error": untrusted}))
    results = [INTAKE.result(name, json.dumps(INTAKE.value(value).value)) for name, value in values]
    results.append(ToolResult("c4", untrusted))
    return summary(results, {"c1": "service_logs", "c2": "restart_service", "c3": "server_status", "c4": "x"})


def quoted_without_a_model(untrusted: str) -> str:
    """What the keyless model quotes in code blocks: log lines, evidence, and what it cannot read."""
    logs = {"results": {"web-1": {"unit": "nginx", "lines": [untrusted]}}}
    outcomes = [{"host": "web-1", "result": "failed", "summary": "no", "evidence": untrusted}]
    values = (("c1", logs), ("c2", {"approval": "7KQ2M4", "state": "failed", "outcomes": outcomes}))
    results = [INTAKE.result(name, json.dumps(INTAKE.value(value).value)) for name, value in values]
    return summary([*results, INTAKE.result("c3", untrusted)], {"c1": "service_logs", "c2": "restart_service"})
