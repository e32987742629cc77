"""What the record says became of the requests an answer is about: put below the model's words, which may say else."""

from collections.abc import Iterable, Sequence

from opsbot.domain import Approval, ApprovalState, AssistantMessage, HostOutcome, Message, Result, ToolResult

# Below an answer that no request was carried out for: whatever its words say.
CHANGED_NOTHING = "changed nothing"
_SHOWN = 5
_ENDS = {
    ApprovalState.DONE: "done",
    ApprovalState.FAILED: "FAILED",
    ApprovalState.UNKNOWN: "outcome UNKNOWN",
    ApprovalState.DENIED: "denied, nothing was run",
    ApprovalState.WITHDRAWN: "withdrawn, nothing was run",
    ApprovalState.EXPIRED: "expired, nothing was run",
    ApprovalState.STALE: "out of date, nothing was run",
}
_RESULTS = {
    Result.DONE: "done",
    Result.FAILED: "failed",
    Result.NOT_DONE: "not done",
    Result.UNKNOWN: "unknown",
}


def verdict(messages: Sequence[Message], approvals: Iterable[Approval]) -> str:
    """Say how the requests ended whose results came since the last answer; "" if there were none."""
    fresh = _calls_since_the_answer(messages)
    about = [approval for approval in approvals if approval.call_id in fresh and approval.state.final]
    said = [_said(approval) for approval in about[:_SHOWN]]
    more = [f"and {len(about) - _SHOWN} more requests"] if len(about) > _SHOWN else []
    return f"Checked by opsbot, not by the model: {'; '.join([*said, *more])}." if said else ""


def _calls_since_the_answer(messages: Sequence[Message]) -> frozenset[str]:
    found: list[str] = []
    for message in messages:
        if isinstance(message, AssistantMessage) and not message.calls:
            found.clear()
        elif isinstance(message, ToolResult):
            found.append(message.call_id)
    return frozenset(found)


def _said(approval: Approval) -> str:
    end = _ENDS.get(approval.state, str(approval.state))
    bad = [outcome for outcome in approval.outcomes if outcome.result is not Result.DONE]
    where = f" on {', '.join(_host(outcome) for outcome in bad[:_SHOWN])}" if bad else ""
    untouched = len(approval.untouched) if approval.outcomes else 0
    left = f", {untouched} not touched" if untouched else ""
    return f"request {approval.id} {end}{where}{left}"


def _host(outcome: HostOutcome) -> str:
    return f"{outcome.host} ({_RESULTS[outcome.result]})"
