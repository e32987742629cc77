"""Which packages have newer versions, whether a reboot is due, and what keeps a server from being updated."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opsbot import Context, Host, Look, Table, duration_text, plain_line, script_look, tool

_SHOWN = 30
_STALE_S = 7 * 86400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.:_~-]{0,199}")

# Nothing is downloaded, and no lock is taken: apt and dnf answer from the lists the server has.
_SCRIPT = r"""# opsbot: package updates
LC_ALL=C; export LC_ALL
mark() { printf '\n@@opsbot %s\n' "$1"; }
bounded() { if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }
mark now; date +%s
if command -v apt-get >/dev/null 2>&1; then
  mark apt
  { bounded 15 apt-get -s -q -o Debug::NoLocking=true -o APT::Get::Show-User-Simulation-Note=false dist-upgrade 2>&1
    echo "@@status $?"; } | grep -E '^(Inst|Remv|E:|@@status) ?' | head -n 1500
  mark lists
  # apt gives a list the server's time; its own doing shows in the folder it downloads to.
  ls /var/lib/apt/lists/*_* >/dev/null 2>&1 &&
    stat -c %Y /var/lib/apt/lists/partial /var/lib/apt/lists/*_* /var/lib/apt/periodic/update-success-stamp \
      2>/dev/null | sort -rn | head -n 1
  mark held; bounded 4 apt-mark showhold 2>/dev/null | head -n 50
  mark broken; bounded 4 dpkg --audit 2>/dev/null | grep -E '^ ' | head -n 20
  mark unattended; bounded 3 apt-config dump APT::Periodic::Unattended-Upgrade 2>/dev/null
elif command -v dnf >/dev/null 2>&1; then
  mark dnf; { bounded 18 dnf -q -C check-update 2>/dev/null; echo "@@status $?"; } | head -n 1500
  mark security; bounded 10 dnf -q -C updateinfo list --security 2>/dev/null | head -n 1500
fi
mark reboot
for folder in /run /var/run; do
  if [ -e "$folder/reboot-required" ]; then
    echo required; sort -u "$folder/reboot-required.pkgs" 2>/dev/null | head -n 20; break
  fi
done
mark kernels; uname -r; for file in /boot/vmlinuz-[0-9]*; do [ -e "$file" ] && echo "${file#/boot/vmlinuz-}"; done |
  sort -V | tail -n 1
mark end
exit 0
"""


def _table(results: Mapping[str, Any]) -> Table:
    rows: list[tuple[tuple[int, str], tuple[str, ...]]] = []
    left_out = 0
    for name, result in results.items():
        rows.append(((_urgency(result), name), _summary_row(name, result)))
        rows += [
            ((5, name), (name, "security" if each["security"] else "update", each["name"], each["from"], each["to"]))
            for each in result["updates"] or ()
        ]
        left_out += result["not_shown"]
    rows.sort(key=lambda row: row[0])
    title = f"{left_out} more updates not shown" if left_out else ""
    return Table(("server", "what", "package", "installed", "newer or remark"), tuple(row for _, row in rows), title)


def _urgency(result: Mapping[str, Any]) -> int:
    if result["broken"] or result["reboot_required"]:
        return 0
    return 1 if result["security"] else 2


def _summary_row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    if result["pending"] is None:
        pending = "updates unknown"
    else:
        pending = f"{result['pending']} updates, {result['security']} for security"
    remarks = [result["not_known"]] if result["not_known"] else []
    if result["reboot_required"]:
        because = ", ".join(result["reboot_because"][:4])
        remarks.append("reboot required" + (f" by {because}" if because else ""))
    remarks += [f"half installed: {', '.join(result['broken'][:4])}"] if result["broken"] else []
    remarks += [f"held back: {', '.join(result['held'][:4])}"] if result["held"] else []
    age = result["lists_age_s"]
    remarks += [f"lists are {duration_text(age)} old"] if age is not None and age > _STALE_S else []
    remarks += ["no unattended upgrades"] if result["unattended_upgrades"] is False else []
    return (name, pending, "", "", "; ".join(remarks))


def _looks(host: Host) -> Iterator[Look]:
    yield script_look(_SCRIPT)


@tool(risk="read", timeout_s=30, table=_table, deferred=True, looks=_looks, by_hand="apt list --upgradable")
def package_updates(ctx: Context, host: Host) -> dict[str, object]:
    """Count and list a server's pending package updates, security first, and say whether a reboot is due and why.

    Reads the lists the server has (`lists_age_s`) and downloads nothing. null means unknown: see `not_known`.
    """
    result = ctx.run(host, "sh", "-c", _SCRIPT, max_bytes=524_288)
    return parse_package_updates(result.check().stdout)


def parse_package_updates(output: str) -> dict[str, Any]:
    """Read the script's output; a part that is missing is unknown."""
    parts = {
        head: body for head, _, body in (piece.partition("\n") for piece in f"\n{output}".split("\n@@opsbot ")[1:])
    }
    now = _number(parts.get("now", ""))
    updates, not_known = _updates(parts)
    lists = _number(parts.get("lists", ""))
    if "apt" in parts and lists is None and not updates and not not_known:
        updates, not_known = None, "there are no package lists (apt-get update was never run)"
    updates = None if updates is None else sorted(updates, key=lambda each: (not each["security"], each["name"]))
    reboot = [plain_line(line, limit=200) for line in parts.get("reboot", "").split("\n") if line.strip()]
    kernels = parts.get("kernels", "").split()
    newer = kernels[1] if len(kernels) > 1 and kernels[1] != kernels[0] else None
    because = reboot[1:] + ([f"kernel {plain_line(newer, limit=100)}"] if newer else [])
    return {
        "pending": None if updates is None else len(updates),
        "security": None if updates is None else sum(each["security"] for each in updates),
        "updates": None if updates is None else updates[:_SHOWN],
        "not_shown": max(0, len(updates or ()) - _SHOWN),
        "not_known": not_known,
        "lists_age_s": max(0, now - lists) if now is not None and lists is not None else None,
        "held": _names(parts.get("held", "")),
        "broken": _names(parts.get("broken", "")),
        "unattended_upgrades": _unattended(parts.get("unattended")),
        "reboot_required": None if "end" not in parts else bool(reboot or newer),
        "reboot_because": because,
        "running_kernel": plain_line(kernels[0], limit=100) if kernels else None,
    }


def _number(text: str) -> int | None:
    word = (text.split() or [""])[0]
    return int(word) if word.isascii() and word.isdecimal() and len(word) < 12 else None


def _names(text: str) -> list[str]:
    words = (line.split()[0] for line in text.splitlines() if line.split())
    return [word for word in words if _NAME.fullmatch(word)][:20]


def _unattended(text: str | None) -> bool | None:
    if text is None:
        return None
    found = re.search(r'APT::Periodic::Unattended-Upgrade "(\w*)"', text)
    return bool(found and found[1] not in ("", "0"))


# --- updates ---------------------------------------------------------------------------------------------------------

# `Inst NAME [INSTALLED] (CANDIDATE ORIGIN… [ARCH])` of apt-get -s; a new package has no installed version.
_INST = re.compile(r"Inst (\S+)(?: \[([^\]]*)\])? \((\S+) (.*?)\)?")


def _updates(parts: Mapping[str, str]) -> tuple[list[dict[str, Any]] | None, str]:
    """Return the updates, and why they are not known."""
    if "apt" in parts:
        lines = parts["apt"].splitlines()
        if "@@status 0" not in lines:
            said = next((plain_line(line[2:].strip(), limit=200) for line in lines if line.startswith("E:")), "")
            return None, said or "apt did not answer in time"
        return list(_apt_updates(lines)), ""
    if "dnf" in parts:
        lines = parts["dnf"].splitlines()
        # dnf(8): 100 means there are updates.
        if not {"@@status 0", "@@status 100"} & {*lines}:
            return None, "dnf did not answer from its cache"
        return list(_dnf_updates(lines, parts.get("security", ""))), ""
    return None, "neither apt nor dnf is there" if "end" in parts else "the answer broke off"


def _apt_updates(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        found = _INST.match(line)
        if found and found[2] is not None and _NAME.fullmatch(found[1]):
            yield {
                "name": found[1],
                "from": plain_line(found[2], limit=80),
                "to": plain_line(found[3], limit=80),
                "security": "-security" in line.lower(),
            }


def _dnf_updates(lines: list[str], security: str) -> Iterator[dict[str, Any]]:
    for line in lines:
        words = line.split()
        if line.startswith("Obsoleting"):
            return
        if len(words) == 3 and "." in words[0] and _NAME.fullmatch(words[0]):
            name = words[0].rpartition(".")[0]
            urgent = f"{name}-{words[1].partition(':')[2] or words[1]}" in security
            yield {"name": name, "from": "", "to": plain_line(words[1], limit=80), "security": urgent}
