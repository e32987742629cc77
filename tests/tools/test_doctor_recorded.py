"""`opsbot doctor` reads what sudo of Debian 12 and 13 really says.

`python -m tests.tools.test_doctor_recorded debian-12 h1` records again, on a host of the fleet.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from opsbot.adapters.doctor_host_script import needs_password, parse_look, root_commands_of, script_for
from opsbot.domain import Host

FOLDER = Path(__file__).resolve().parent
FLEET = FOLDER.parent / "fleet" / "fleet"
HOST = Host(
    "db-1",
    user="bot",
    units=("nginx.service", "slowstop.service", "ssh.service"),
    actions=("restart", "reset-failed", "reboot", "kill"),
)


def recorded(name: str) -> str:
    return json.loads((FOLDER / f"{name}-doctor.json").read_text(encoding="utf-8"))["stdout"]


def record(name: str, host: str) -> None:
    """Ask a host of the fleet, by its own ssh, and keep the answer without its name."""
    script = script_for(HOST, root_commands_of(HOST), 20)
    said = subprocess.run([FLEET, "ssh", host, "sh", "-s"], input=script, capture_output=True, text=True, check=True)
    text = said.stdout.replace(f" on {host}:", " on db-1:")
    (FOLDER / f"{name}-doctor.json").write_text(json.dumps({"stdout": text}, indent=1) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "system"), [("debian-12", "Debian GNU/Linux 12"), ("debian-13", "Debian GNU/Linux 13")]
)
def test_the_answer_of_a_release_is_read(name: str, system: str) -> None:
    look = parse_look(recorded(name))
    assert look.os.startswith(system)
    assert (look.user, look.journal, look.engine) == ("bot", "open", "none")
    assert look.time is not None
    allowed = {each.purpose: look.may[number] for number, each in enumerate(root_commands_of(HOST))}
    assert {purpose for purpose, tried in allowed.items() if tried == (1, "")} == {
        "restart ssh.service",
        "reset-failed slowstop.service",
        "reset-failed ssh.service",
    }
    assert {purpose for purpose, tried in allowed.items() if tried is not None and tried[0] == 0} == {
        "restart nginx.service",
        "reset-failed nginx.service",
        "restart slowstop.service",
        "reboot",
        "kill a process",
    }
    assert [each.purpose for each in root_commands_of(HOST) if needs_password(look.rules, each.spelled)] == []


if __name__ == "__main__":
    record(*sys.argv[1:])
