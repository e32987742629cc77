"""The scene of a task: hosts made ready, broken for it, looked at beside the bot, and brought back to the baseline."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from opsbot.domain import Host
from opsbot.evaluation.fleet import Fleet, FleetError, Machine, first_words, joined
from opsbot.evaluation.tasks import Cast, Certified, Command, EndCheck, FleetFault, Step, Task, Until
from opsbot.sudoers import file_for

Machines: TypeAlias = Mapping[str, Machine]

_BASELINE = "/run/eval/baseline.sh"
_QUIET = re.compile(r"^(user@|user-runtime-dir@|systemd-|session-)")
# So often a condition is looked at, at most: a minute in all.
_TRIES = 300


class Scene:
    """The cast on a fleet, broken as a task says; hosts are named as in the inventory."""

    def __init__(
        self,
        fleet: Fleet,
        cast: Cast,
        describe: Callable[[Machines], Mapping[str, Host]],
        tell: Callable[[str], None],
    ) -> None:
        self._fleet = fleet
        self._cast = cast
        self._describe = describe
        self._tell = tell
        self.machines: Machines = {}
        self.rebuilt = 0

    async def build(self) -> None:
        """Start the machines anew and make every host ready as the cast says; take the baseline.

        Machines that run already are ended first: nobody knows what was done to them.
        The sudo rules of a host are those for what the inventory allows there.

        Raises:
            ConfigError: no fleet can run here.
            FleetError: it did not come up.
        """
        await asyncio.to_thread(self._fleet.check)
        await asyncio.to_thread(self._fleet.down)
        await asyncio.to_thread(self._fleet.up, max(int(each.machine[1:]) for each in self._cast.hosts.values()))
        self.machines = await asyncio.to_thread(self._fleet.machines)
        hosts = self._describe(self.machines)
        await asyncio.gather(*(self._dress(name, hosts[name]) for name in self._cast.hosts))

    async def clear(self) -> None:
        """End the machines."""
        await asyncio.to_thread(self._fleet.down)

    # --- a task ------------------------------------------------------------------------------------------------------

    async def set_up(self, task: Task) -> dict[str, str]:
        """Break what the task says, and return its facts.

        Raises:
            FleetError: a step failed, or a fact cannot be read.
        """
        for machine, steps in _runs(task.setup):
            if isinstance(steps, FleetFault):
                await asyncio.to_thread(self._fleet.fault, self._machine(machine), *steps.fault.split())
            else:
                await self._checked(machine, joined(steps), f"{task.id}: its setup")
        pairs = await asyncio.gather(*(self._fact(task, name, one) for name, one in task.facts.items()))
        return dict(pairs)

    async def units(self, hosts: Iterable[str]) -> dict[str, str]:
        """Return what tells one run of a service from another, by `unit@host`."""
        found: dict[str, str] = {}
        names = sorted(hosts)
        texts = await asyncio.gather(*(self._execute(name, f"sh {_BASELINE} units") for name in names))
        for name, (_, text) in zip(names, texts, strict=True):
            for block in text.split("\n\n"):
                fields = dict(line.partition("=")[::2] for line in block.strip().splitlines())
                unit = fields.pop("Id", "")
                if unit and not _QUIET.match(unit):
                    found[f"{unit}@{name}"] = " ".join(fields.values())
        return found

    async def end_state(self, checks: Iterable[EndCheck]) -> dict[str, str]:
        """Return for each reason what its check said, "" if it holds."""
        return dict(await asyncio.gather(*(self._end_check(check) for check in checks)))

    async def restore(self, hosts: Iterable[str]) -> None:
        """Bring hosts back to the baseline; if one does not come back, start all machines anew.

        Raises:
            FleetError: they cannot be started anew.
        """
        problems = [said for said in await asyncio.gather(*map(self._restored, sorted(hosts))) if said]
        if not problems:
            return
        self._tell(f"starting every machine anew: {'; '.join(problems)}")
        self.rebuilt += 1
        await self.build()

    # --- machines ----------------------------------------------------------------------------------------------------

    def _machine(self, host: str) -> str:
        return self._cast.hosts[host].machine

    async def _dress(self, name: str, described: Host) -> None:
        host = self._cast.hosts[name]
        sudoers = file_for(described)
        script = files("opsbot.evaluation").joinpath("baseline.sh").read_text(encoding="utf-8")
        steps = [
            f"hostname {name}; mkdir -p /run/eval\ncat > {_BASELINE} <<'END_OF_FILE'\n{script}\nEND_OF_FILE",
            f"NAME={name}\n{self._cast.dress}",
            host.dress,
            f"cat > /etc/sudoers.d/fleet <<'END_OF_FILE'\n{sudoers}END_OF_FILE\nchmod 440 /etc/sudoers.d/fleet",
            f"sh {_BASELINE} take",
        ]
        await self._checked(name, joined(steps), "making it ready")

    async def _restored(self, name: str) -> str:
        """Return "" if the host is back, else what differs."""
        try:
            await asyncio.to_thread(self._fleet.heal, self._machine(name))
            status, said = await self._execute(name, f"sh {_BASELINE} restore >/dev/null 2>&1; sh {_BASELINE} compare")
        except FleetError as error:
            return f"{name}: {error}"
        return f"{name}: {first_words(said)}" if status else ""

    async def _fact(self, task: Task, name: str, one: Command) -> tuple[str, str]:
        value = (await self._checked(one.host, one.script, f"{task.id}: its fact {name}")).strip()
        if not value:
            raise FleetError(f"{task.id}: its fact {name} is empty; correct the script.")
        return name, value

    async def _end_check(self, check: EndCheck) -> tuple[str, str]:
        status, said = await self._execute(check.host, check.script)
        return check.why, (first_words(said) or f"status {status}") if status else ""

    async def _checked(self, host: str, script: str, what: str) -> str:
        status, said = await self._execute(host, script)
        if status:
            raise FleetError(f"{what} on {host} ended with status {status}: {first_words(said)}")
        return said

    async def _execute(self, host: str, script: str) -> tuple[int, str]:
        return await asyncio.to_thread(self._fleet.execute, self._machine(host), script)


def _runs(steps: Iterable[Step]) -> list[tuple[str, "FleetFault | list[str]"]]:
    """Return the steps in order, neighbours on one host as one script."""
    runs: list[tuple[str, FleetFault | list[str]]] = []
    for step in steps:
        if isinstance(step, FleetFault):
            runs.append((step.host, step))
            continue
        last = runs[-1] if runs else ("", [])
        if last[0] == step.host and isinstance(last[1], list):
            last[1].append(_script_of(step))
        else:
            runs.append((step.host, [_script_of(step)]))
    return runs


def _script_of(step: Command | Certified | Until) -> str:
    match step:
        case Command():
            return f"set -e\n{step.script}"
        case Until():
            return f"for try in $(seq {_TRIES}); do (\n{step.until}\n) && exit 0; sleep 0.2; done; exit 1"
        case Certified():
            folder = step.certificate.rpartition("/")[0]
            return f"mkdir -p {folder}\ncat > {step.certificate} <<'END'\n{_certificate(step)}END"


def _certificate(step: Certified) -> str:
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, step.host)])
    # An hour more, so that the whole days left are those asked for.
    ends = datetime.now(UTC) + timedelta(days=step.days, hours=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, ends - timedelta(days=90), ends)
    return made.sign(key, None).public_bytes(Encoding.PEM).decode()
