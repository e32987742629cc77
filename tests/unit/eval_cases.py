"""A task and a record that solves it, for tests of the evaluation: each test changes one thing."""

import json
from typing import Any

from opsbot.evaluation.record import MadeCall, Proposal, Record, Took
from opsbot.evaluation.tasks import Task

RESTART = {"tool": "restart_service", "hosts": ["web-1"], "arguments": {"unit": "shop.service"}}
LOOK = MadeCall(0, "service_status", {"hosts": ["web-1"]}, ("web-1",), '{"active_state": "failed", "exit": 78}')
DONE = Proposal("restart_service", {"unit": "shop.service"}, ("web-1",), "done", 1)


def a_task(**grade: Any) -> Task:
    """A task about web-1 with these rules."""
    content = {
        "id": "one",
        "level": 1,
        "about": "a test",
        "prompt": "Why?",
        "hosts": ["web-1"],
        "grade": grade,
        "reference": [{"say": "x"}],
        "wrong": [{"name": "w", "fails": ["answer"], "replies": [{"say": "y"}]}],
    }
    return Task.model_validate_json(json.dumps(content))


def a_record(**changes: Any) -> Record:
    """One look at web-1, one answer."""
    return Record(**({"calls": (LOOK,), "answers": ("shop failed with 78.",), "took": Took(2, 1, 900, 100)} | changes))
