"""Twenty megabytes of log from a real SSH server: kept in a real database, and the one line that matters is found."""

import json
from pathlib import Path

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.store import open_store
from opsbot.discovery import load_tools
from opsbot.domain import IncomingMessage, ToolResult
from opsbot.output_spec import READ_OUTPUT
from opsbot.ports import ModelRequest
from tests.real_sshd import StartSshd, needs_sshd, start_sshd
from tests.records import KEY
from tests.scenario.house import ALICE, THREAD, House, World
from tests.scripted_model import call

__all__ = ["start_sshd"]

pytestmark = needs_sshd

SECRET = "canary-Value-123456"
TOOL = '''
from opsbot import Context, Host, tool


@tool(risk="read", timeout_s=240)
def whole_log(ctx: Context, host: Host) -> dict[str, str]:
    """Read all of a log."""
    return {{"log": ctx.run(host, "cat", "{log}", max_bytes=32 * 2**20).check().stdout}}
'''


@pytest.mark.timeout(300)
async def test_the_one_line_of_a_large_journal_is_found_by_search(start_sshd: StartSshd, tmp_path: Path) -> None:
    lines = [f"Nov 28 12:00:00 web-1 shop[7]: request {number} was served in good time" for number in range(330_000)]
    lines[-4000] = f"Nov 28 12:00:01 web-1 shop[7]: connection pool exhausted, password={SECRET}"
    (tmp_path / "journal.txt").write_text("\n".join(lines))
    assert (tmp_path / "journal.txt").stat().st_size > 20_000_000
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/whole_log.py").write_text(TOOL.format(log=tmp_path / "journal.txt"))
    shell = ParamikoShell()
    machines = HostMachines(shell, LocalShell())
    store = open_store(f"sqlite:///{tmp_path}/opsbot.db", audit_key=KEY)
    world = World(store=store, machines=machines, hosts={"real": start_sshd()}, secrets=(SECRET,))  # type: ignore[arg-type]
    house = House(world, registry=load_tools([tmp_path / "tools"]))
    await house.start()

    def searching(request: ModelRequest):
        (shown,) = (m for m in request.messages if isinstance(m, ToolResult))
        assert len(shown.content) < 7_000
        assert "exhausted" not in shown.content
        return call(READ_OUTPUT, "c2", ref=shown.ref, grep="exhausted")

    world.model.add(call("whole_log", "c1", hosts=["real"]), searching, "The pool is exhausted.")
    await house.send(IncomingMessage(THREAD, ALICE, "what is wrong with the shop?", THREAD.thread_id))
    await house.quiet(280)
    found = next(m for m in world.model.requests[-1].messages if isinstance(m, ToolResult) and m.call_id == "c2")
    answer = json.loads(found.content)
    assert answer["matches"] == 1
    assert "connection pool exhausted" in answer["lines"][0]
    assert SECRET not in found.content
    assert answer["of"] == 'whole_log {"hosts": ["real"]}'
    assert found.untrusted
    assert house.seen[0] == "The pool is exhausted."
    await house.stop()
    shell.close()
    await store.close()
