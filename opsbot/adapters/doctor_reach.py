"""`opsbot doctor` on the way to a host: at which stage it failed, and what mends it."""

from collections.abc import Iterator
from dataclasses import replace

from opsbot.adapters.hostfacts import Probe
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_keys import KeyRing
from opsbot.adapters.ssh_link import pins_of
from opsbot.diagnosis import Check, Finding, Subject
from opsbot.domain import CommandResult, Connection, Host
from opsbot.errors import HostUnreachable, Stage, ToolError
from opsbot.ports import Machines
from opsbot.readable import plain_line
from opsbot.trust import fingerprint_of

# Here nobody wonders whether something was run.
_UNSAID = " Nothing was run."


class _Unusable(HostUnreachable):
    """The inventory's own part of a connection is missing: found without asking anybody."""

    def __init__(self, check: Check, said: str, remedy: str) -> None:
        super().__init__(said)
        self.check = check
        self.remedy = remedy


def have_keys(host: Host) -> None:
    """Check the inventory's own part of a connection. Raises HostUnreachable, which `unreached` understands."""
    try:
        pins_of(host)
    except HostUnreachable as error:
        raise _Unusable(Check.HOST_KEY, str(error), f"`opsbot hosts trust {host.name}` shows and pins it.") from None
    try:
        KeyRing().load(host.login_key_file)
    except HostUnreachable as error:
        remedy = f"Set `key` of {host.name} to a private key file of the bot's own, mode 0600."
        raise _Unusable(Check.KEY_FILE, str(error), remedy) from None


def reached(subject: Subject, host: Host, said: CommandResult) -> Iterator[Finding]:
    """Say how far everything went well, which is all the way."""
    if host.connection is Connection.LOCAL:
        yield subject.ok(Check.CONNECTION, "this machine", took_s=said.duration_s)
        return
    via = f" through {host.jump}" if host.jump else ""
    yield subject.ok(Check.CONNECTION, f"{host.address}:{host.port}{via}", took_s=said.duration_s)
    pins = [fingerprint_of(line) for line in host.host_key.splitlines() if line.strip()]
    yield subject.ok(Check.HOST_KEY, f"as pinned: {' or '.join(pins)}")
    alone = "" if host.reads_apart else ", who looks and acts"
    yield subject.ok(Check.LOG_IN, f"as {host.login_user}{alone}")


def unreached(subject: Subject, host: Host, error: ToolError, *, took_s: float) -> Finding:
    """Say at which stage it failed."""
    said = plain_line(str(error), limit=600).removesuffix(_UNSAID)
    if isinstance(error, _Unusable):
        return subject.fail(error.check, said, error.remedy)
    if isinstance(error.__cause__, HostUnreachable):
        remedy = f"Mend the jump host first: `opsbot doctor {host.jump}`."
        return subject.fail(Check.JUMP_HOST, said, remedy, took_s=took_s)
    if not isinstance(error, HostUnreachable):
        return subject.fail(Check.ANSWER, said, hung_remedy(host), took_s=took_s)
    check, remedy = _of_stage(host, error.failed_at)
    return subject.fail(check, said, remedy, took_s=took_s)


def _of_stage(host: Host, stage: Stage | None) -> tuple[Check, str]:
    match stage:
        case Stage.ADDRESS:
            remedy = f"Correct `address` of {host.name}, or the name service here: `getent hosts {host.address}`."
            return Check.CONNECTION, remedy
        case Stage.GREETING | Stage.HANDSHAKE:
            return Check.CONNECTION, _no_ssh_remedy(host)
        case Stage.HOST_KEY:
            return Check.HOST_KEY, _key_remedy(host)
        case Stage.KEY_ACCEPTED:
            return Check.LOG_IN, _login_remedy(host)
        case Stage.LOG_IN:
            return Check.LOG_IN, hung_remedy(host)
        case Stage.SESSION:
            return Check.ANSWER, hung_remedy(host)
        case Stage.CONNECT | None:
            return Check.CONNECTION, _connect_remedy(host)


def hung_remedy(host: Host) -> str:
    """Say how to look at a host that lets people in and then hangs."""
    port = f"-p {host.port} " if host.port != 22 else ""
    jump = f"-J {host.jump} " if host.jump else ""
    way = f"`ssh {port}{jump}{host.login_user}@{host.address} true`"
    return f"Log in by hand: {way}; a hung disk, service manager, directory server or PAM module shows."


def _connect_remedy(host: Host) -> str:
    way = f"from {host.jump}" if host.jump else "from here"
    return (
        "Refused: sshd does not run there, or `port` is wrong. No route or no answer: the host is down, `address` is "
        f"wrong, or one of the firewalls {way} to {host.address}:{host.port} is in between."
    )


def _no_ssh_remedy(host: Host) -> str:
    return (
        f"Something takes connections at {host.address}:{host.port}, and SSH does not come of it: the host hangs or is "
        "overloaded (its console shows), something else listens there (`ss -ltnp`), or sshd turns connections away "
        "(MaxStartups, its log says so)."
    )


def _key_remedy(host: Host) -> str:
    return (
        "If the host was reinstalled, compare what was seen with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on "
        f"it, then `opsbot hosts trust --replace {host.name}`. If nobody knows why it changed, do not pin it: somebody "
        "may stand in between."
    )


def _login_remedy(host: Host) -> str:
    public = f"`ssh-keygen -yf {host.login_key_file}`"
    file = f"~{host.login_user}/.ssh/authorized_keys"
    return f"Put what {public} prints into {file} on {host.name}; sshd's log there says more."


# --- the account that looks ------------------------------------------------------------------------------------------

# Looks at nothing, so a gate refuses it, and does nothing where none stands.
_HARMLESS = ("true",)


def reading(subject: Subject, host: Host, machines: Machines, deadline: Deadline) -> Iterator[Finding]:
    """Say whether the account that looks gets in, and whether the host limits what it may run."""
    try:
        have_keys(host)
        look = machines.run(host, Probe.VITALS.argv, timeout_s=max(deadline.left_s, 0.1))
        harmless = machines.run(host, _HARMLESS, timeout_s=max(deadline.left_s, 0.1))
    except ToolError as error:
        finding = unreached(subject, host, error, took_s=deadline.timeout_s - deadline.left_s)
        yield replace(finding, check=Check.READING)
        return
    again = f"Print it again: `opsbot gate {host.name}` (docs/keys.md)."
    if look.exit_status != 0:
        said = plain_line(look.stderr or f"status {look.exit_status}", limit=300)
        yield subject.fail(Check.READING, f"{host.login_user} is refused a look: {said}", again)
    elif harmless.exit_status == 0:
        remedy = f"`opsbot gate {host.name}` prints what limits it (docs/keys.md)."
        yield subject.warn(Check.READING, f"as {host.login_user}, whose key may run anything that user may", remedy)
    else:
        yield subject.ok(Check.READING, f"as {host.login_user}, through the gate")
