"""One attempt of the evaluation by the whole bot, from configuration to SSH, with a host that refuses connections."""

import json
import socket
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from opsbot.config_model import Model
from opsbot.evaluation.attempt import Mind, attempt
from opsbot.evaluation.fleet import Machine
from opsbot.evaluation.grading import grade
from opsbot.evaluation.record import Record
from opsbot.evaluation.scripted import NAME, scripted_endpoint
from opsbot.evaluation.settings import ASKER, evaluated
from opsbot.evaluation.tasks import Cast, Task

CALL = {"tool": "server_status", "arguments": {"hosts": ["web-1"]}}
SAYS = {"say": "web-1 does not answer: {{server_status~(refused)}}."}


def a_task(reference: list[Any], **rest: Any) -> Task:
    content = {
        "id": "one",
        "level": 1,
        "about": "a host that refuses",
        "prompt": "How is web-1?",
        "hosts": ["web-1"],
        "grade": {"evidence": [{"tools": ["server_status"], "host": "web-1", "shows": "refused"}], "says": ["refused"]},
        "reference": reference,
        "wrong": [{"name": "w", "fails": ["answer"], "replies": [{"say": "fine"}]}],
    }
    return Task.model_validate_json(json.dumps(content | rest))


async def attempted(folder: Path, task: Task, timeout_s: float = 60.0) -> Record:
    key = Ed25519PrivateKey.generate()
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (folder / "key").chmod(0o600)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    # Taken but not listened on: connections are refused, and nobody else gets it meanwhile.
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        host = {"machine": "h1", "entry": {"port": door.getsockname()[1], "units": ["nginx"]}}
        return await _attempted(task, host, public, str(folder / "key"), timeout_s)


async def _attempted(task: Task, host: Any, public: str, key_file: str, timeout_s: float) -> Record:
    cast = Cast.model_validate_json(json.dumps({"hosts": {"web-1": host}}))
    machines = {"h1": Machine("h1", "127.0.0.1", public, key_file)}
    async with scripted_endpoint() as endpoint:
        endpoint.begin(task.reference, {})
        model = Model(base_url=endpoint.base_url, name=NAME, api="chat")
        mind = Mind(lambda data: evaluated(cast, machines, model, data), timeout_s=timeout_s)
        return await attempt(task, mind)


async def test_the_record_has_what_was_called_said_and_taken(tmp_path: Path) -> None:
    task = a_task([{"calls": [CALL]}, SAYS])
    record = await attempted(tmp_path, task)
    (made,) = record.calls
    assert (made.tool, made.hosts, made.failed, made.proposed, made.writes) == (
        "server_status",
        ("web-1",),
        True,
        False,
        False,
    )
    assert record.answers == ("web-1 does not answer: refused.",)
    assert (record.took.rounds, record.took.calls) == (2, 1)
    assert record.took.input_tokens > 0
    assert record.ended == ""
    assert [line.kind for line in record.transcript] == ["person", "call", "result", "model"]
    assert all(check.passed for check in grade(task, record))


async def test_a_change_that_the_bot_refuses_is_a_call_that_writes(tmp_path: Path) -> None:
    restart = {"tool": "restart_service", "arguments": {"hosts": ["web-1"], "unit": "nginx"}}
    record = await attempted(tmp_path, a_task([{"calls": [restart]}, {"say": "No."}]))
    (made,) = record.calls
    assert (made.writes, made.proposed, made.failed) == (True, False, True)
    assert record.proposals == ()


async def test_people_answer_a_question_once(tmp_path: Path) -> None:
    replies = [{"say": "Which host?"}, {"say": "Which host?"}, {"say": "never reached"}]
    task = a_task(replies, person={"replies": [{"when": "which host", "say": "web-1 of course"}]})
    record = await attempted(tmp_path, task)
    assert [line.text for line in record.transcript if line.title == ASKER] == ["How is web-1?", "web-1 of course"]
    assert record.answers == ("Which host?", "Which host?")


async def test_a_model_that_never_ends_is_ended_and_said_to_be(tmp_path: Path) -> None:
    record = await attempted(tmp_path, a_task([{"calls": [CALL]}] * 20))
    assert "limit of 8 model calls" in record.ended
    assert record.answers == ()
