"""Places at which a whole bot kills itself, as `kill -9` would: `arm("after store.approvals.change:3")`.

`arm("freeze before host.act:1")` stops it there, as by SIGSTOP, until somebody sends SIGCONT.

The name is a place and how often it is passed before. Nothing of this is in the product: the places are put around its
methods in a test's own process (`tests.zygote`), so that no bot outside of a test can ever meet one.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

# Where a place is: module, class, method. Every one can be died at before and after its effect.
METHODS = {
    "store.inbox.accept": ("opsbot.adapters.store.inbox", "SqlInbox", "accept"),
    "store.inbox.finish": ("opsbot.adapters.store.inbox", "SqlInbox", "finish"),
    "store.conversations.append": ("opsbot.adapters.store.conversations", "SqlConversations", "append"),
    "store.approvals.add": ("opsbot.adapters.store.approvals", "SqlApprovals", "add"),
    "store.approvals.change": ("opsbot.adapters.store.approvals", "SqlApprovals", "change"),
    "store.operations.claim": ("opsbot.adapters.store.operations", "SqlOperations", "claim"),
    "store.outbox.put": ("opsbot.adapters.store.outbox", "SqlOutbox", "put"),
    "store.outbox.sent": ("opsbot.adapters.store.outbox", "SqlOutbox", "sent"),
    "store.audit.append": ("opsbot.adapters.store.audit_log", "SqlAuditLog", "append"),
    "store.leases.take": ("opsbot.adapters.store.leases", "SqlLeases", "take"),
    "store.leases.drop": ("opsbot.adapters.store.leases", "SqlLeases", "drop"),
    "chat.post": ("opsbot.adapters.slack.chat", "SlackChat", "post"),
    "chat.edit": ("opsbot.adapters.slack.chat", "SlackChat", "edit"),
    "chat.whisper": ("opsbot.adapters.slack.chat", "SlackChat", "whisper"),
    "host.act": ("opsbot.context", "Context", "act"),
    "executor.impacts": ("opsbot.reads", "Reads", "impacts"),
    "executor.recheck": ("opsbot.executor", "Executor", "recheck"),
    "executor.verify": ("opsbot.executor", "Executor", "_verify"),
    "campaign.run": ("opsbot.campaign", "Campaign", "run"),
}


def arm(name: str) -> None:
    """Make this process die at a place; "" is none."""
    if not name:
        return
    number = signal.SIGSTOP if name.startswith("freeze ") else signal.SIGKILL
    where, _, count = name.removeprefix("freeze ").partition(":")
    when, _, place = where.partition(" ")
    module, kind, method = METHODS[place]
    owner = getattr(import_module(module), kind)
    setattr(owner, method, _mortal(getattr(owner, method), when, int(count or 1), number))


def _mortal(function: Callable[..., Any], when: str, count: int, number: int) -> Callable[..., Any]:
    left = [count]

    def pass_by(now: str) -> None:
        if now == when:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), number)
                time.sleep(0.1)  # a stop may reach this thread a moment later than the call returns

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        pass_by("before")
        result = await function(*args, **kwargs)
        pass_by("after")
        return result

    def synchronous(*args: Any, **kwargs: Any) -> Any:
        pass_by("before")
        result = function(*args, **kwargs)
        pass_by("after")
        return result

    is_async = function.__code__.co_flags & 0x80
    return functools.wraps(function)(asynchronous if is_async else synchronous)
