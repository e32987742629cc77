"""Actions on services, on what systemd and sudo of two Debian releases answered.

To record again: `python -m tests.tools.test_writes_recorded debian-12 h6` with a fleet up; it restarts brittle.service.
"""

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from opsbot_tools import reload_service as reload
from opsbot_tools import reset_failed as clear
from opsbot_tools import start_service as start
from opsbot_tools import stop_service as stop

from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import Host, Impact, Result
from opsbot.errors import BadArguments, ToolError
from opsbot.tooling import Unit
from tests.recordings import RecordingShell, ReplayShell

RELEASES = ["debian-12-writes", "debian-13-writes"]
HOST = Host("box-1", user="bot", units=("nginx.service", "brittle.service"))
NGINX, BRITTLE, SLOW, SSH = (Unit(f"{name}.service") for name in ("nginx", "brittle", "slowstop", "ssh"))


def ctx(machines: HostMachines) -> Context:
    return Context(machines, timeout_s=60, sleep=lambda seconds: None)


def look(machines: HostMachines, host: Host) -> None:
    """Reload a service that can be, start one that fails, and try what sudo refuses; it is recorded."""
    reload.reload_service.function(ctx(machines), host, NGINX)
    reload.impact(ctx(machines), host, NGINX)
    start.start_service.function(ctx(machines), host, BRITTLE)
    start.impact(ctx(machines), host, BRITTLE)
    machines.services(host).logs(BRITTLE, lines=15, timeout_s=20)
    stop.impact(ctx(machines), host, Unit("dbus.service"))
    for module, unit in ((reload, SLOW), (start, Unit("masked.service")), (stop, SSH), (clear, Unit("nope.service"))):
        with suppress(ToolError):
            module.impact(ctx(machines), host, unit)
    with suppress(ToolError):
        stop.stop_service.function(ctx(machines), host, SSH)


@pytest.fixture(params=RELEASES)
def machines(request) -> HostMachines:
    shell = ReplayShell(request.param)
    return HostMachines(shell, shell)


def earlier(before: Impact, **fingerprint: str) -> Impact:
    """Return the card as it would have been before the recorded action."""
    return replace(before, fingerprint={**before.fingerprint, **fingerprint})


def test_a_reload_is_proved_by_the_time_of_the_last_change(machines):
    card = reload.impact(ctx(machines), HOST, NGINX)
    assert int(card.fingerprint["last_change"]) > 10**6
    assert "last reload" not in dict(card.facts)
    done = reload.verify(ctx(machines), HOST, earlier(card, last_change="1"), NGINX)
    assert (done.result, "was reloaded; the same run goes on" in done.summary) == (Result.DONE, True)
    assert reload.verify(ctx(machines), HOST, card, NGINX).result is Result.NOT_DONE


def test_a_unit_that_cannot_be_reloaded_is_known_as_such(machines):
    with pytest.raises(BadArguments, match="cannot be reloaded"):
        reload.impact(ctx(machines), HOST, SLOW)


def test_a_start_that_failed_is_judged_with_its_journal(machines):
    before = earlier(start.impact(ctx(machines), HOST, BRITTLE), invocation_id="0" * 32, active_state="inactive")
    outcome = start.verify(ctx(machines), HOST, before, BRITTLE)
    assert (outcome.result, outcome.summary) == (Result.FAILED, "brittle.service did not come up: exit-code")
    assert "config error: /etc/brittle.conf: line 7: unknown key" in outcome.evidence


def test_the_card_of_a_failed_unit_says_so(machines):
    facts = dict(start.impact(ctx(machines), HOST, BRITTLE).facts)
    assert facts["state"] == "failed (failed)"
    assert facts["note"] == "its last run failed: exit-code; its log says why"
    assert facts["at boot"] == "enabled"
    assert dict(clear.impact(ctx(machines), HOST, BRITTLE).facts)["result of its last run"] == "exit-code"


def test_a_failed_state_that_is_still_there_was_not_cleared(machines):
    before = clear.impact(ctx(machines), HOST, BRITTLE)
    assert clear.verify(ctx(machines), HOST, before, BRITTLE).result is Result.NOT_DONE


def test_what_starts_a_unit_on_demand_is_on_the_card_of_its_stop(machines):
    facts = dict(stop.impact(ctx(machines), HOST, Unit("dbus.service")).facts)
    assert facts["started on demand by"] == "dbus.socket (active)"
    assert "can be started again at once" in facts["note"]


@pytest.mark.parametrize(
    ("module", "unit", "reason"), [(start, "masked", "is masked"), (clear, "nope", "has no service nope")]
)
def test_masked_and_missing_units_are_refused(machines, module, unit, reason):
    with pytest.raises(BadArguments, match=reason):
        module.impact(ctx(machines), HOST, Unit(f"{unit}.service"))


def test_the_refusal_of_either_sudo_is_understood(machines):
    with pytest.raises(ToolError, match=r"sudo refuses the bot to stop ssh\.service; nothing was changed"):
        stop.stop_service.function(ctx(machines), HOST, SSH)


def record(name: str, host: str) -> None:
    """Run the actions on a host of the fleet as the user bot, keep what it printed, and put brittle.service back."""
    from opsbot.adapters.ssh import ParamikoShell
    from tests.fleet.conftest import FLEET, _pinned_keys

    def as_root(script: str) -> None:
        subprocess.run([FLEET, "exec", host, "sh", "-c", script], check=True)

    inventory = json.loads(subprocess.check_output([FLEET, "inventory"]))
    entry = next(each for each in inventory["hosts"] if each["name"] == host)
    pins = _pinned_keys(Path(inventory["known_hosts"]))
    target = replace(HOST, name=host, address=entry["addr"], key_file=inventory["key"], host_key=pins[entry["addr"]])
    shell = RecordingShell(ParamikoShell())
    as_root("systemctl stop brittle; touch /run/brittle.started")
    try:
        look(HostMachines(shell, shell), target)
        release = shell.run(target, ("cat", "/etc/debian_version"), timeout_s=10).stdout.strip()
        shell.save(name, release=f"Debian {release}", user="bot")
    finally:
        shell.close()
        as_root("rm -f /run/brittle.started; systemctl reset-failed brittle; systemctl start brittle")


if __name__ == "__main__":
    record(f"{sys.argv[1]}-writes", sys.argv[2])
