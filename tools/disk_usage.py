"""How full the file systems are, and which directories and files fill one of them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opsbot import (
    PATH,
    BadArguments,
    Context,
    Host,
    Look,
    Table,
    percent_text,
    plain_line,
    script_look,
    size_text,
    tool,
)

_SHOWN = 15
_DIRECTORIES = 10
_FILES = 5
_FULL_PERCENT = 85
_MAX_PATH = 1024
# A parent whose child holds this much of it says nothing the child does not say better.
_MOSTLY = 0.9
# What no disk is behind, or what is full by nature.
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
        "squashfs",
        "sysfs",
        "tracefs",
    )
)
# Shown only when they get full: they live in memory.
_IN_MEMORY = frozenset(("tmpfs",))

# $1: a directory, or "" for the fullest file system. Everything that can hang has a limit of its own, so that a dead
# network mount costs two seconds and is named. du prints a directory when it is done with it: a cut answer is usable.
_SCRIPT = r"""# opsbot: disk usage
LC_ALL=C; export LC_ALL
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
mark mounts; head -c 200000 /proc/self/mounts
mark df
bounded 5 df -k --local --output=source,fstype,size,used,avail,pcent,itotal,iused,target 2>/dev/null |
  head -n 400 || bounded 5 df -kPT
awk '$3 ~ /^(nfs4?|cifs|smb3|smbfs|ceph|glusterfs|lustre|9p|fuse\.sshfs)$/ { print $2 }' /proc/self/mounts | head -n 4 |
while read -r remote; do
  mount=$(printf '%b' "$remote")
  if found=$(bounded 2 df -k --output=source,fstype,size,used,avail,pcent,itotal,iused,target -- "$mount" 2>/dev/null)
  then mark df; printf '%s\n' "$found"; else mark "silent"; printf '%s\n' "$mount"; fi
done
below=$1
if [ -z "$below" ]; then
  below=$(bounded 5 df -kPTl 2>/dev/null | awk '
    NR > 1 && ($1 ~ /^\/dev\// || $NF == "/") && $2 !~ /^(squashfs|iso9660|devtmpfs)$/ {
      full = $6 + 0; for (i = 0; i < 6; i++) sub(/^[^ ]+ +/, "")
      if (full > most && $0 !~ /^\/(run|boot|etc)\//) { most = full; at = $0 } }
    END { print at == "" ? "/" : at }')
fi
mark "below $below"
if ! [ -d "$below" ]; then echo '@@missing'; else
  quiet=$(command -v ionice >/dev/null 2>&1 && echo 'ionice -c 3')
  { bounded 9 nice -n 19 $quiet du -xkd 3 -- "$below"; echo "@@status $?"; } 2>&1 |
    awk '/^du: /{ lost++; next } /^@@status /{ status = $2; next } { print }
      END { printf "999999999999999\t@@end %d %d\n", lost, status }' | sort -rn | head -n 80
  mark files
  { bounded 4 nice -n 19 $quiet find "$below" -xdev -type f -size +51200k -printf '%k\t%p\n'; echo "@@status $?"; } \
    2>/dev/null | sort -rn | head -n 12
  mark used; bounded 2 df -kP -- "$below"
fi
mark end
exit 0
"""


def _table(results: Mapping[str, Any]) -> Table:
    rows: list[tuple[int, tuple[str, ...]]] = []
    for name, result in results.items():
        rows += [(-(each["used_percent"] or 0), _row(name, each)) for each in result["file_systems"]]
    rows.sort(key=lambda row: row[0])
    lines: list[tuple[str, ...]] = [row for _, row in rows]
    for name, result in results.items():
        lines += [(name, mount, "", "", "", "", "does not answer") for mount in result["silent"]]
        lines += _found_rows(name, result["below"])
    headers = ("server", "where", "size", "used", "free", "full", "remark")
    left_out = sum(result["not_shown"] for result in results.values())
    return Table(headers, tuple(lines), f"{left_out} more not shown" if left_out else "")


def _row(name: str, each: Mapping[str, Any]) -> tuple[str, ...]:
    remarks = ["read-only"] if each["read_only"] else []
    inodes = each["inodes_used_percent"]
    if inodes is not None and inodes >= _FULL_PERCENT:
        remarks.append(f"inodes {percent_text(inodes)} used")
    if (each["used_percent"] or 0) >= _FULL_PERCENT:
        remarks.insert(0, "nearly full" if each["used_percent"] < 100 else "full")
    sizes = (each["size_bytes"], each["used_bytes"], each["available_bytes"])
    return (name, each["mount"], *map(size_text, sizes), percent_text(each["used_percent"]), ", ".join(remarks))


def _found_rows(name: str, below: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (name, each["path"], size_text(each["bytes"]), "", "", "", "directory") for each in below["directories"]
    ]
    rows += [(name, each["path"], size_text(each["bytes"]), "", "", "", "file") for each in below["files"]]
    if below["remark"]:
        rows.append((name, below["path"], "", "", "", "", below["remark"]))
    return rows


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT, "")
    yield script_look(_SCRIPT, PATH)


@tool(risk="read", timeout_s=30, table=_table, deferred=True, looks=_looks, by_hand="df -h; df -i[; du -x {path}]")
def disk_usage(ctx: Context, host: Host, path: str | None = None) -> dict[str, object]:
    """List file systems, the fullest first, and the largest directories and files of the fullest one or below a path.

    Directories that may not be read are not counted. `unaccounted_bytes`: used, but in no file that could be seen, as
    deleted files that are still open. null means unknown.

    Args:
        path: Absolute directory to look below.
    """
    if path is not None and not _acceptable(path):
        raise BadArguments("path must be an absolute directory without `..`, at most 1024 characters.")
    result = ctx.run(host, "sh", "-c", _SCRIPT, "sh", path or "", max_bytes=524_288)
    return parse_disk_usage(result.check().stdout)


def _acceptable(path: str) -> bool:
    plain = path.isprintable() and len(path) <= _MAX_PATH
    return plain and path.startswith("/") and ".." not in path.split("/")


def parse_disk_usage(output: str) -> dict[str, Any]:
    """Read the script's output; a part that is missing is unknown."""
    parts = [piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:]]
    options = _mount_options("".join(body for head, _, body in parts if head == "mounts"))
    found = [each for head, _, body in parts if head == "df" for each in _file_systems(body, options)]
    unique = {each["mount"]: each for each in found}
    ordered = sorted(unique.values(), key=lambda each: (-(each["used_percent"] or 0), each["mount"]))
    silent = [plain_line(body.strip(), limit=200) for head, _, body in parts if head == "silent"]
    return {
        "file_systems": ordered[:_SHOWN],
        "not_shown": max(0, len(ordered) - _SHOWN),
        "silent": silent[:5],
        "below": _below({head.split(" ")[0]: (head, body) for head, _, body in parts}),
    }


# --- file systems ----------------------------------------------------------------------------------------------------


def _mount_options(text: str) -> dict[str, frozenset[str]]:
    options = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) >= 4:
            options[_unescaped(words[1])] = frozenset(words[3].split(","))
    return options


def _unescaped(mount: str) -> str:
    """/proc/mounts writes blanks and the like as octal numbers (fstab(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), mount)


def _file_systems(text: str, options: Mapping[str, frozenset[str]]) -> list[dict[str, Any]]:
    header, *lines = text.strip().splitlines() or [""]
    long = "IUsed" in header
    found = []
    seen: set[tuple[str, ...]] = set()
    for line in lines:
        words = line.split(None, 8 if long else 6)
        if len(words) != (9 if long else 7) or words[1] in _PSEUDO:
            continue
        if words[1] == "overlay" and "/docker/" in words[-1]:  # a container's view of a file system listed anyway
            continue
        each = _file_system(words, long, options)
        # The same file system mounted in several places counts once, at its first.
        twin = (words[0], *words[2:5])
        if each is None or (words[0].startswith("/dev/") and twin in seen):
            continue
        seen.add(twin)
        if words[1] not in _IN_MEMORY or (each["used_percent"] or 0) >= _FULL_PERCENT:
            found.append(each)
    return found


def _file_system(words: Sequence[str], long: bool, options: Mapping[str, frozenset[str]]) -> dict[str, Any] | None:
    size, used, available = (_kib(word) for word in words[2:5])
    if not size or used is None or available is None:
        return None
    inodes, inodes_used = (_number(words[6]), _number(words[7])) if long else (None, None)
    usable = used + available
    return {
        "mount": plain_line(words[-1], limit=200),
        "type": plain_line(words[1], limit=40),
        "size_bytes": size,
        "used_bytes": used,
        "available_bytes": available,
        # As df: of what ordinary users can have, rounded up.
        "used_percent": -(-used * 100 // usable) if usable else None,
        "inodes_used_percent": -(-inodes_used * 100 // inodes) if inodes and inodes_used is not None else None,
        "read_only": "ro" in options.get(words[-1], ()),
    }


def _number(word: str) -> int | None:
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 19 else None


def _kib(word: str) -> int | None:
    number = _number(word)
    return None if number is None else number * 1024


# --- directories and files -------------------------------------------------------------------------------------------


def _below(named: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    head, body = named.get("below", ("", ""))
    path = plain_line(head.removeprefix("below").strip(), limit=_MAX_PATH)
    answer: dict[str, Any] = {
        "path": path,
        "directories": [],
        "files": [],
        "unreadable": None,
        "unaccounted_bytes": None,
        "remark": "",
    }
    if not path or "@@missing" in body:
        return answer | {"remark": "there is no such directory" if path else "not looked at"}
    sizes, lost, status = _sizes(body)
    cut = status in (124, 137)
    directories = [(size, name) for size, name in sizes if name.rstrip("/") != path.rstrip("/")]
    files, _, files_status = _sizes(named.get("files", ("", ""))[1])
    total = next((size for size, name in sizes if name.rstrip("/") == path.rstrip("/")), None)
    remarks = ["not everything was counted: it took too long"] if cut else []
    if lost:
        remarks.append(f"{lost} places may not be read" if lost > 1 else "one place may not be read")
    if files_status in (124, 137):
        remarks.append("large files: searched in part")
    used = _used_at(named.get("used", ("", ""))[1], path)
    hidden = used - total if used is not None and total is not None and not (cut or lost or status) else None
    if hidden is not None and hidden > max(used or 0, 1) // 10:
        remarks.append(f"{size_text(hidden)} are used by nothing that can be seen (deleted files that are open?)")
    return answer | {
        "directories": [{"path": plain_line(name, limit=300), "bytes": size} for size, name in _telling(directories)],
        "files": [{"path": plain_line(name, limit=300), "bytes": size} for size, name in files[:_FILES]],
        "unreadable": lost,
        "unaccounted_bytes": max(0, hidden) if hidden is not None else None,
        "remark": "; ".join(remarks),
    }


def _sizes(text: str) -> tuple[list[tuple[int, str]], int | None, int | None]:
    """Return (bytes, path) of each line, the largest first; how many places were refused; and how it ended."""
    found: list[tuple[int, str]] = []
    lost = status = None
    for line in text.splitlines():
        size, tab, name = line.partition("\t")
        if name.startswith("@@end "):
            words = [_number(word) for word in name.split(" ")[1:3]]
            lost, status = words if len(words) == 2 else (None, None)
        elif line.startswith("@@status "):
            status = _number(line.split(" ")[1])
        elif tab and (kib := _kib(size)) is not None:
            found.append((kib, name))
    return sorted(found, key=lambda each: (-each[0], each[1])), lost, status


def _telling(directories: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Leave out what is nearly all one child's, then take the largest."""
    kept = []
    for size, name in directories:
        inside = (child for child_size, child in directories if child_size >= size * _MOSTLY and child != name)
        if size and not any(child.startswith(f"{name.rstrip('/')}/") for child in inside):
            kept.append((size, name))
    return kept[:_DIRECTORIES]


def _used_at(text: str, path: str) -> int | None:
    """Bytes used on the file system, if the path is where it is mounted."""
    words = text.strip().splitlines()[-1].split(None, 5) if text.strip() else []
    return _kib(words[2]) if len(words) == 6 and words[5].rstrip("/") == path.rstrip("/") else None
