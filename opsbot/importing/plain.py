"""Lists of hosts: one a line, `/etc/hosts`, or CSV with a header."""

import csv
import ipaddress
from collections.abc import Mapping, Sequence

from opsbot.importing.findings import Candidate, Findings, Hop
from opsbot.importing.places import place_of
from opsbot.inventory import is_address

# Names of columns, as they are found in such files, and what they mean.
_COLUMNS: Mapping[str, str] = {
    "name": "name",
    "host": "name",
    "hostname": "name",
    "inventory_hostname": "name",
    "address": "address",
    "ip": "address",
    "ip_address": "address",
    "ansible_host": "address",
    "port": "port",
    "user": "user",
    "login": "user",
    "key": "key",
    "jump": "jump",
    "group": "groups",
    "groups": "groups",
    "tag": "tags",
    "tags": "tags",
}


def read_plain(text: str, source: str) -> Findings:
    """Read `NAME [[USER@]ADDRESS[:PORT]]` lines, lines that begin with an address, or CSV."""
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line]
    findings = Findings()
    separator = _separator(lines[0][1]) if lines else ""
    if separator:
        _read_csv(lines, separator, source, findings)
        return findings
    for number, line in lines:
        _read_line(line.split(), f"{source}:{number}", findings)
    return findings


def _read_line(words: Sequence[str], where: str, findings: Findings) -> None:
    if words[0].startswith("["):
        findings.remark(words[0], where, "is no host; for groups in brackets use --from ansible")
    elif is_address(words[0]) and len(words) > 1 and not _is_place(words[1]):
        _read_hosts_line(words, where, findings)
    elif len(words) > 2:
        findings.leave_out(words[0], where, "has more than a name and an address in its line")
    else:
        _add(words[0], words[-1], where, findings)


def _add(name: str, place: str, where: str, findings: Findings) -> None:
    found = place_of(place)
    if found is None:
        findings.leave_out(name, where, f"{place[:60]!a} is no [user@]address[:port]")
        return
    called = found.host if name == place else name
    findings.add(Candidate(called, where, address=found.host, port=found.port, user=found.user))


def _is_place(word: str) -> bool:
    found = place_of(word)
    return found is not None and (is_address(found.host) or found.user != "" or found.port is not None)


def _read_hosts_line(words: Sequence[str], where: str, findings: Findings) -> None:
    """`/etc/hosts`: an address, its name, and more names of the same machine (hosts(5))."""
    address = ipaddress.ip_address(words[0])
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        findings.leave_out(words[1], where, f"{words[0]} is no address of another machine")
        return
    findings.add(Candidate(words[1], where, address=words[0]))
    for alias in words[2:]:
        findings.leave_out(alias, where, f"is another name of {words[1][:60]!a}")


# --- CSV -------------------------------------------------------------------------------------------------------------


def _separator(header: str) -> str:
    """Return what separates the columns if this is a header with a column of names, else ""."""
    for separator in (",", ";", "\t"):
        columns = [_COLUMNS.get(_column(word)) for word in header.split(separator)]
        if len(columns) > 1 and "name" in columns:
            return separator
    return ""


def _column(word: str) -> str:
    return word.strip().strip('"').lower().replace(" ", "_")


def _read_csv(lines: Sequence[tuple[int, str]], separator: str, source: str, findings: Findings) -> None:
    header = [_column(word) for word in lines[0][1].split(separator)]
    for column in header:
        if column not in _COLUMNS:
            findings.remark(column, f"{source}:{lines[0][0]}", "is a column of unknown meaning")
    for number, line in lines[1:]:
        where = f"{source}:{number}"
        try:
            (cells,) = csv.reader([line], delimiter=separator, strict=True)
        except csv.Error as error:
            findings.leave_out(line[:60], where, f"is no row of the table ({error})")
            continue
        row = {
            _COLUMNS[name]: cell.strip() for name, cell in zip(header, cells, strict=False) if name in _COLUMNS and cell
        }
        _add_row(row, where, findings, exact=len(cells) <= len(header))


def _add_row(row: Mapping[str, str], where: str, findings: Findings, *, exact: bool) -> None:
    name = row.get("name", "")
    port = row.get("port", "")
    if not name or not exact:
        findings.leave_out(name or "(no name)", where, "does not fit the header's columns")
        return
    if port and not (port.isascii() and port.isdecimal() and len(port) < 6):
        findings.leave_out(name, where, f"{port[:20]!a} is no port")
        return
    findings.add(
        Candidate(
            name,
            where,
            address=row.get("address", ""),
            port=int(port) if port else None,
            user=row.get("user", ""),
            key=row.get("key", ""),
            jump=(Hop(row["jump"]),) if row.get("jump") else (),
            groups=_words(row.get("groups", "")),
            tags=_words(row.get("tags", "")),
        )
    )


def _words(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.replace(";", " ").replace(",", " ").replace("|", " ").split()))
