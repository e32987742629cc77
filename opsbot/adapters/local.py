"""The bot's own machine: commands without a shell, and facts by psutil."""

import os
import selectors
import signal
import subprocess
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from opsbot.adapters.cpu_readings import CpuReading, CpuTime
from opsbot.adapters.hostfacts import SMALLEST_BYTES, failed_units, os_name, worth_showing
from opsbot.domain import CommandResult, Disk, Host, ServerFacts, Vitals
from opsbot.errors import CommandTimedOut, HostUnreachable, ToolError
from opsbot.ports import Shell

_CHUNK_BYTES = 65536
# A command that ended may leave a child that holds its output open (a daemon it started): not waited for any longer.
_AFTER_EXIT_S = 0.5
# What a command needs of the bot's environment; the rest may hold secrets.
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LocalShell(Shell):
    """Runs commands on the bot's own machine, each in a process group of its own, with its rights and no secrets."""

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            # The statuses a shell gives, so that a missing command looks alike here and over SSH.
            status = 127 if isinstance(error, FileNotFoundError) else 126
            return CommandResult(tuple(argv), status, "", f"{argv[0]}: {error.strerror}")
        except (OSError, ValueError) as error:
            raise HostUnreachable(f"{host.name}: no process could be started: {error}.") from error
        try:
            return _finish(process, argv, stdin=stdin, max_bytes=max_bytes, times=(started, started + timeout_s))
        except TimeoutError as error:
            raise CommandTimedOut(f"{host.name}: `{argv[0]}` did not end within {timeout_s:.1f} s.") from error
        finally:
            _kill_group(process)
            _close_pipes(process)

    def close(self) -> None:
        """Nothing is kept open between commands."""


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {"PATH": _DEFAULT_PATH, **kept, "LC_ALL": "C.UTF-8"}


@dataclass
class _Stream:
    """What arrived on one pipe, up to the cap; the rest is read and dropped, so that the command never blocks on us."""

    kept: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def take(self, piece: bytes, max_bytes: int) -> None:
        room = max_bytes - len(self.kept)
        self.kept += piece[:room]
        self.truncated = self.truncated or len(piece) > room

    @property
    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


@dataclass
class _Feed:
    """What is still to be written to the command."""

    pipe: IO[bytes]
    data: bytes

    def give(self) -> bool:
        """Write a piece; return whether all is written, or nobody reads."""
        try:
            self.data = self.data[os.write(self.pipe.fileno(), self.data[:_CHUNK_BYTES]) :]
        except BrokenPipeError:
            self.data = b""
        return not self.data


def _finish(
    process: "subprocess.Popen[bytes]",
    argv: Sequence[str],
    *,
    stdin: str,
    max_bytes: int,
    times: tuple[float, float],
) -> CommandResult:
    """Feed, read and wait until the command ends. Raises TimeoutError at the deadline."""
    started, deadline = times
    out, err = _Stream(), _Stream()
    with selectors.DefaultSelector() as selector:
        for pipe, stream in ((process.stdout, out), (process.stderr, err)):
            if pipe:
                selector.register(pipe, selectors.EVENT_READ, stream)
        if process.stdin:
            _offer(selector, process.stdin, stdin.encode())
        _pump(selector, process, deadline=deadline, max_bytes=max_bytes)
    try:
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    return CommandResult(
        tuple(argv), status, out.text, err.text, out.truncated or err.truncated, time.monotonic() - started
    )


def _offer(selector: selectors.BaseSelector, pipe: IO[bytes], data: bytes) -> None:
    if not data:
        pipe.close()
        return
    os.set_blocking(pipe.fileno(), False)
    selector.register(pipe, selectors.EVENT_WRITE, _Feed(pipe, data))


def _pump(
    selector: selectors.BaseSelector, process: "subprocess.Popen[bytes]", *, deadline: float, max_bytes: int
) -> None:
    """Move bytes until both outputs are closed, or the command has ended and nothing more comes."""
    quiet_until: float | None = None
    while any(isinstance(key.data, _Stream) for key in selector.get_map().values()):
        now = time.monotonic()
        if now >= deadline:
            raise TimeoutError
        if process.poll() is not None:
            quiet_until = quiet_until or now + _AFTER_EXIT_S
            if now >= quiet_until:
                return
        for key, _ in selector.select(min(deadline - now, 0.1)):
            _move(selector, key, max_bytes)


def _move(selector: selectors.BaseSelector, key: selectors.SelectorKey, max_bytes: int) -> None:
    if isinstance(key.data, _Stream):
        piece = os.read(key.fd, _CHUNK_BYTES)
        key.data.take(piece, max_bytes)
        if not piece:
            selector.unregister(key.fileobj)
    elif isinstance(key.data, _Feed) and key.data.give():
        selector.unregister(key.fileobj)
        key.data.pipe.close()


def _close_pipes(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe and not pipe.closed:
            pipe.close()


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """End whatever is left of the command. A `sudo` of root's cannot be killed by us: it is left to its own end."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        return


def local_facts(shell: Shell, host: Host, *, timeout_s: float) -> ServerFacts:
    """Look at the bot's own machine; failed units are None where systemd does not run."""
    vitals = local_vitals()
    system = os.uname()
    return ServerFacts(
        hostname=system.nodename,
        os=os_name(_read("/etc/os-release") or _read("/usr/lib/os-release")) or f"{system.sysname} {system.release}",
        kernel=system.release,
        cpus=psutil.cpu_count() or 0,
        load=vitals.load,
        cpu_percent=psutil.cpu_percent(interval=0.2),
        memory_total_bytes=vitals.memory_total_bytes,
        memory_available_bytes=vitals.memory_available_bytes,
        swap_total_bytes=vitals.swap_total_bytes,
        swap_used_bytes=vitals.swap_used_bytes,
        disks=_disks(),
        uptime_s=vitals.uptime_s,
        boot_id=vitals.boot_id,
        failed_units=_failed_units(shell, host, timeout_s),
    )


def local_vitals() -> Vitals:
    """Look at the bot's own machine without starting a process; the CPU is for `local_reading` to compare."""
    memory = psutil.virtual_memory()
    with warnings.catch_warnings():  # psutil warns where a container hides the paging counters, which we do not use
        warnings.simplefilter("ignore", RuntimeWarning)
        swap = psutil.swap_memory()
    load = psutil.getloadavg()
    return Vitals(
        load=(round(load[0], 2), round(load[1], 2), round(load[2], 2)),
        cpu_percent=None,
        memory_total_bytes=memory.total,
        memory_available_bytes=memory.available,
        swap_total_bytes=swap.total,
        swap_used_bytes=swap.used,
        uptime_s=max(0.0, time.time() - psutil.boot_time()),
        boot_id=_read("/proc/sys/kernel/random/boot_id").strip() or f"boot-{psutil.boot_time():.0f}",
    )


def local_reading(vitals: Vitals) -> CpuReading:
    """Read the CPU's counters; guests are part of user time already."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    counted = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return CpuReading(vitals.boot_id, vitals.uptime_s, CpuTime(counted, idle))


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def _disks() -> tuple[Disk, ...]:
    """One line per device, as `df` shows it: bind mounts of the same file system are the same disk."""
    disks: dict[int, Disk] = {}
    for partition in psutil.disk_partitions(all=True):
        mount = partition.mountpoint
        # A file mounted over a file (containers do this for /etc/hosts) is no place to look for space.
        if not worth_showing(mount, partition.fstype) or not os.path.isdir(mount):
            continue
        try:
            device, disk = os.stat(mount).st_dev, _disk(mount)
        except OSError:
            continue
        if disk.size_bytes >= SMALLEST_BYTES and (device not in disks or len(mount) < len(disks[device].mount)):
            disks[device] = disk
    return tuple(sorted(disks.values(), key=lambda disk: disk.mount))


def _disk(mount: str) -> Disk:
    usage, raw = psutil.disk_usage(mount), os.statvfs(mount)
    inodes = raw.f_files or None
    used = raw.f_files - raw.f_ffree if inodes else None
    return Disk(mount, usage.total, usage.used, inodes, used, usage.free)


def _failed_units(shell: Shell, host: Host, timeout_s: float) -> tuple[str, ...] | None:
    if not os.path.isdir("/run/systemd/system"):
        return None
    argv = ("systemctl", "--no-pager", "list-units", "--failed", "--no-legend", "--plain", "--full")
    try:
        listing = shell.run(host, argv, timeout_s=min(5.0, timeout_s)).check().stdout
    except ToolError:
        return None
    return failed_units(listing)
