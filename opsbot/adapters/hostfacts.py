"""How a server is doing, from fixed scripts and one round trip; the parsers are pure."""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from opsbot.adapters.cpu_readings import CpuTime
from opsbot.adapters.services.plain import plain_line
from opsbot.domain import CommandResult, Disk, Host, ServerFacts, Vitals
from opsbot.errors import CommandFailed

_MARK: Final = "@@opsbot "
# More than any answer needs, also on hosts with hundreds of mounts.
MAX_BYTES: Final = 256 * 1024

# POSIX sh; needs no rights. `vitals` uses built-ins only, so it starts no process. `facts` starts a few: `df -l` asks
# no network file system, and a systemd that does not answer costs five seconds, not the call. `df -P` is the form POSIX
# fixes.
PROBE_FUNCTIONS: Final = r"""LC_ALL=C; export LC_ALL
mark() { printf '\n@@opsbot %s\n' "$1"; }
first() { mark "$1"; IFS= read -r line <"$2" && printf '%s\n' "$line"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 5 "$@"; else "$@"; fi; }
vitals() {
  first stat /proc/stat
  first uptime /proc/uptime
  first loadavg /proc/loadavg
  first boot_id /proc/sys/kernel/random/boot_id
  mark meminfo
  while read -r name amount rest; do
    case $name in
    MemTotal:|MemFree:|MemAvailable:|Buffers:|Cached:|SwapTotal:) printf '%s %s\n' "$name" "$amount" ;;
    SwapFree:) printf '%s %s\n' "$name" "$amount"; break ;;
    esac
  done </proc/meminfo
  mark vitals_end
}
os_name() {
  while IFS= read -r line; do
    case $line in PRETTY_NAME=*) printf '%s\n' "$line"; return ;; esac
  done <"$1"
}
facts() {
  vitals
  if [ "$1" = sampled ]; then { sleep 0.2 || sleep 1; }; first stat_later /proc/stat; fi
  first hostname /proc/sys/kernel/hostname
  first kernel /proc/sys/kernel/osrelease
  mark cpus; getconf _NPROCESSORS_ONLN || grep -c '^processor' /proc/cpuinfo
  mark os
  if [ -r /etc/os-release ]; then os_name /etc/os-release; else os_name /usr/lib/os-release; fi
  mark mounts; cut -d ' ' -f 2,3 /proc/mounts
  mark df; bounded df -l -P -B1 || bounded df -P -k
  mark df_inodes; bounded df -l -P -i || bounded df -P -i
  if [ -d /run/systemd/system ]; then
    mark failed; bounded systemctl --no-pager list-units --failed --no-legend --plain --full
    status=$?; mark failed_status; echo "$status"
  fi
  mark end
}
"""


class Probe(StrEnum):
    """The questions that may be asked over a probe channel: calls of PROBE_FUNCTIONS, and nothing else ever."""

    VITALS = "vitals"
    # CPU time since boot only, for those who remember an earlier reading; else with a second sample 0.2 s later.
    FACTS = "facts"
    FACTS_SAMPLED = "facts sampled"

    @property
    def argv(self) -> tuple[str, ...]:
        """The same question as a command of its own."""
        return ("sh", "-c", f"{PROBE_FUNCTIONS}{self}\nexit 0\n")


@runtime_checkable
class Prober(Protocol):
    """A shell that keeps a channel for probes open."""

    def probe(self, host: Host, probe: Probe, *, timeout_s: float) -> CommandResult:
        """Ask, within one deadline. Raises as `Shell.run`."""
        ...


_BOOT_ID = re.compile(r"[0-9a-f-]{36}")
# File systems that hold nobody's data, or whose fill level says nothing (read-only images are always full).
_PSEUDO = frozenset(
    (
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "erofs",
        "fusectl",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tracefs",
    )
)
# Asking these can hang for as long as their server is away.
_REMOTE = frozenset(("9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"))
# Below this a file system is a stub (a mount point's own placeholder), not a place where things are kept.
SMALLEST_BYTES: Final = 2**20
_SYSTEM_PLACES = ("/dev", "/proc", "/run", "/sys")
_INNER_PLACES = ("/var/lib/containers/", "/var/lib/docker/", "/var/lib/kubelet/", "/snap/")


def worth_showing(mount: str, fstype: str) -> bool:
    """Whether a mounted file system holds data of this machine, so that its fill level matters."""
    if fstype in _PSEUDO or fstype in _REMOTE or fstype.startswith("fuse."):
        return False
    inside = any(mount == place or mount.startswith(f"{place}/") for place in _SYSTEM_PLACES)
    return not inside and not mount.startswith(_INNER_PLACES)


def parse(output: str) -> ServerFacts:
    """Read the script's output.

    Raises:
        CommandFailed: load, memory or uptime are missing: this is no Linux, or the output was cut.
    """
    parts = _sections(output)
    try:
        memory = _memory(parts["meminfo"])
        load = tuple(_finite(word) for word in parts["loadavg"].split()[:3])
        uptime_s = _finite(parts["uptime"].split()[0])
        facts = ServerFacts(
            hostname=plain_line(parts.get("hostname", ""), limit=255),
            os=os_name(parts.get("os", "")),
            kernel=plain_line(parts.get("kernel", ""), limit=255),
            cpus=_integer(parts.get("cpus", "")) or 0,
            load=(load[0], load[1], load[2]),
            cpu_percent=_cpu_percent(parts.get("stat", ""), parts.get("stat_later", "")),
            memory_total_bytes=memory["MemTotal"],
            memory_available_bytes=_available(memory),
            swap_total_bytes=memory.get("SwapTotal", 0),
            swap_used_bytes=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
            disks=_disks(parts),
            uptime_s=uptime_s,
            boot_id=_boot_id(parts.get("boot_id", "")),
            failed_units=_failed(parts),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise CommandFailed("The server did not report load, memory and uptime as Linux does.") from error
    return facts


def parse_vitals(output: str) -> Vitals:
    """Read the output of `vitals`; what the CPU does is known only beside an earlier reading.

    Raises:
        CommandFailed: as `parse`.
    """
    parts = _sections(output)
    try:
        if "vitals_end" not in parts:
            raise ValueError("cut")
        memory = _memory(parts["meminfo"])
        load = [_finite(word) for word in parts["loadavg"].split()[:3]]
        return Vitals(
            load=(load[0], load[1], load[2]),
            cpu_percent=None,
            memory_total_bytes=memory["MemTotal"],
            memory_available_bytes=_available(memory),
            swap_total_bytes=memory.get("SwapTotal", 0),
            swap_used_bytes=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
            uptime_s=_finite(parts["uptime"].split()[0]),
            boot_id=_boot_id(parts.get("boot_id", "")),
        )
    except (KeyError, IndexError, ValueError) as error:
        raise CommandFailed("The server did not report load, memory and uptime as Linux does.") from error


def cpu_time(output: str) -> CpuTime | None:
    """Return the newest reading of the CPU's counters in this output of `vitals` or `facts`."""
    parts = _sections(output)
    return _cpu_time(parts.get("stat_later", "")) or _cpu_time(parts.get("stat", ""))


def failed_units(listing: str) -> tuple[str, ...]:
    """Return the unit names of `systemctl list-units --failed --no-legend --plain`."""
    names = (plain_line(line.lstrip("●×*○ ").partition(" ")[0], limit=255) for line in listing.splitlines())
    return tuple(name for name in names if name)


def os_name(os_release: str) -> str:
    """Return PRETTY_NAME of an os-release(5) file, or ""."""
    found = re.search(r"^PRETTY_NAME=(.*)$", os_release, re.MULTILINE)
    return plain_line(found.group(1).strip("\"' "), limit=100) if found else ""


def _sections(output: str) -> dict[str, str]:
    sections: dict[str, str] = {}
    for piece in f"\n{output}".split(f"\n{_MARK}")[1:]:
        name, _, body = piece.partition("\n")
        sections.setdefault(name.strip(), body.strip("\n"))
    return sections


def _boot_id(line: str) -> str:
    # The usual form needs no cleaning, which costs more than all the rest of reading vitals.
    return line if _BOOT_ID.fullmatch(line) else plain_line(line, limit=64)


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(word)
    return number


def _integer(word: str) -> int | None:
    word = word.strip()
    return int(word) if word.isdecimal() and word.isascii() else None


def _memory(meminfo: str) -> dict[str, int]:
    """Return bytes by name; /proc/meminfo counts in KiB."""
    lines = (line.split() for line in meminfo.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) >= 2}


def _available(memory: Mapping[str, int]) -> int:
    """MemAvailable exists since Linux 3.14; before, free + buffers + cached comes near."""
    if "MemAvailable" in memory:
        return memory["MemAvailable"]
    return memory["MemFree"] + memory.get("Buffers", 0) + memory.get("Cached", 0)


def _cpu_percent(before: str, after: str) -> float | None:
    """Busy share between two first lines of /proc/stat."""
    first, second = _cpu_time(before), _cpu_time(after)
    return second.busy_percent(first) if first and second else None


def _cpu_time(line: str) -> CpuTime | None:
    """Read the first line of /proc/stat; from its ninth number on, guests are counted twice (proc_stat(5))."""
    ticks = [_integer(word) for word in line.split()[1:9]]
    if len(ticks) < 4 or None in ticks:
        return None
    known = [tick or 0 for tick in ticks]
    return CpuTime(sum(known), sum(known[3:5]))


def _disks(parts: Mapping[str, str]) -> tuple[Disk, ...]:
    kinds = dict(
        pair for pair in (line.rsplit(" ", 1) for line in parts.get("mounts", "").splitlines()) if len(pair) == 2
    )
    inodes = {mount: columns for mount, columns, _ in _df_rows(parts.get("df_inodes", ""))}
    disks = []
    for mount, (size, used, available), unit in _df_rows(parts.get("df", "")):
        if (
            not size
            or size * unit < SMALLEST_BYTES
            or used is None
            or not worth_showing(mount, kinds.get(_octal(mount), ""))
        ):
            continue
        total, taken, _ = inodes.get(mount, (None, None, None))
        free = None if available is None else available * unit
        disks.append(
            Disk(plain_line(mount, limit=255), size * unit, used * unit, total or None, taken if total else None, free)
        )
    return tuple(disks)


def _df_rows(listing: str) -> list[tuple[str, tuple[int | None, int | None, int | None], int]]:
    """Return (mount, (size, used, free), bytes per unit) per line of `df -P`; the header tells the unit."""
    header, *lines = listing.splitlines() or [""]
    found = re.search(r"\s(\d+)-blocks", header)
    unit = int(found.group(1)) if found else 1024
    rows = []
    for line in lines:
        words = line.split(None, 5)
        if len(words) == 6:
            rows.append((words[5], (_integer(words[1]), _integer(words[2]), _integer(words[3])), unit))
    return rows


def _octal(mount: str) -> str:
    """Spell a mount point as /proc/mounts does."""
    return mount.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")


def _failed(parts: Mapping[str, str]) -> tuple[str, ...] | None:
    if parts.get("failed_status", "").strip() != "0":
        return None
    return failed_units(parts.get("failed", ""))
