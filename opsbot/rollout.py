"""How an action goes over many hosts: which come next, and how many may be out of service at once. Pure."""

from collections.abc import Mapping, Sequence, Set

from opsbot.domain import Approval, ApprovalState, Card, Result, Rollout, Step


def next_batch(rollout: Rollout, remaining: Sequence[str], unavailable: Set[str], *, ended: int) -> tuple[str, ...]:
    """Choose which of the `remaining` hosts are acted on next, side by side, after `ended` of them.

    `unavailable` are the hosts of the whole action that do not serve now, or cannot say. Whatever becomes of the batch,
    no more hosts are unavailable than `max_unavailable` or than there are already: a host that serves is taken only
    while there is room, one that does not serve can lose nothing and may go before its turn. Empty: there is no room.
    """
    room = rollout.max_unavailable - len(unavailable)
    chosen: list[str] = []
    for name in remaining:
        if len(chosen) == _size(rollout, ended):
            break
        if name in unavailable:
            chosen.append(name)
        elif room > 0:
            chosen.append(name)
            room -= 1
    return tuple(chosen)


def planned(rollout: Rollout, hosts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the batches as they are when every host serves until its turn."""
    batches: list[tuple[str, ...]] = []
    while left := hosts[sum(map(len, batches)) :]:
        batches.append(next_batch(rollout, left, frozenset(), ended=len(hosts) - len(left)))
    return tuple(batches)


def agreed_text(rollout: Rollout, hosts: int) -> str:
    """Say what an approver agrees to for so many hosts; "" for one, where there is nothing to say."""
    if hosts <= 1:
        return ""
    first = "one canary" if rollout.canary == 1 else f"{rollout.canary} canaries"
    return (
        f"{first}, then {rollout.batch} at a time, at most {rollout.max_unavailable} unavailable; "
        f"a pause of {pause_text(rollout)} ends it"
    )


def pause_text(rollout: Rollout) -> str:
    """Say how long a pause may last."""
    minutes, seconds = divmod(rollout.pause_max_s, 60)
    return f"{rollout.pause_max_s} s" if seconds else f"{minutes} min"


def shown_steps(card: Card) -> tuple[Step, ...]:
    """Return a card's lines, one per host: how things are going, or how they went, also where nothing was done."""
    ended = card.approval.state in (ApprovalState.DONE, ApprovalState.FAILED, ApprovalState.UNKNOWN)
    if not ended or len(card.approval.action.hosts) == 1:
        return card.steps
    return host_steps(card.approval, {}, waiting="untouched")


def host_steps(approval: Approval, elapsed_s: Mapping[str, float], *, waiting: str = "waiting") -> tuple[Step, ...]:
    """One line per host: how it ended, or for how long it has been running, or that it is `waiting`."""
    outcomes = {outcome.host: outcome for outcome in approval.outcomes}
    found = []
    for name in approval.action.hosts:
        if name in outcomes:
            good = outcomes[name].result is Result.DONE
            found.append(Step(name, "done" if good else "failed", outcomes[name].summary))
        elif name in elapsed_s:
            found.append(Step(name, "running", f"{elapsed_s[name]:.0f} s"))
        else:
            found.append(Step(name, waiting))
    return tuple(found)


def _size(rollout: Rollout, ended: int) -> int:
    return rollout.canary - ended if ended < rollout.canary else rollout.batch
