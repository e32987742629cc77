"""The inventory file an import writes, and its summary for people."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from opsbot.importing.findings import Candidate, Kind, Remark
from opsbot.importing.settled import Imported
from opsbot.readable import plain_line

_REMARKS_WRITTEN = 200
# Words that no YAML reader takes for anything but text.
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)\Z)[A-Za-z/][A-Za-z0-9_./-]*", re.ASCII | re.I)
_Setting = str | int | None | Sequence[str]


def inventory_text(imported: Imported, origin: str) -> str:
    """Return YAML for `inventory:`; `origin` says where it came from."""
    common = _common(imported)
    lines = [*_comments(imported, origin), f"defaults: {_mapping(common)}", "hosts:"]
    lines += [f"  {_word(host.name)}: {_mapping(_settings(host, common))}" for host in imported.hosts]
    return "\n".join(lines) + "\n"


def rows(remarks: Sequence[Remark]) -> list[tuple[str, str, str]]:
    """Return what, where and why for people, alike ones together, hosts first."""
    order = [Kind.HOST, Kind.GROUP, Kind.SETTING]
    together: dict[tuple[Kind, str], list[Remark]] = {}
    for remark in sorted(remarks, key=lambda each: order.index(each.kind)):
        together.setdefault((remark.kind, remark.why), []).append(remark)
    return [
        (_named(alike), plain_line(alike[0].where, limit=200), plain_line(why, limit=300))
        for (_, why), alike in together.items()
    ]


def _named(alike: Sequence[Remark]) -> str:
    shown = ", ".join(plain_line(remark.what, limit=64) or "?" for remark in alike[:3])
    return f"{shown} and {len(alike) - 3} more" if len(alike) > 3 else shown


def _comments(imported: Imported, origin: str) -> Iterator[str]:
    yield f"# Imported by `opsbot hosts import` from {plain_line(origin, limit=300)}"
    yield "# For `inventory: [THIS FILE]` in config.yaml with `host_keys: FILE`, and run `opsbot hosts trust all`."
    if missing := [setting for setting in ("user", "key") if _lacking(imported, setting)]:
        yield f"# Hosts without {' or '.join(missing)} here need it under `defaults` in config.yaml."
    found = rows(imported.remarks)
    if found:
        yield "# Left out:"
    for what, where, why in found[:_REMARKS_WRITTEN]:
        yield f"#   {what} ({where}): {why}"
    if len(found) > _REMARKS_WRITTEN:
        yield f"#   and {len(found) - _REMARKS_WRITTEN} reasons more"


def _lacking(imported: Imported, setting: str) -> bool:
    given = getattr(imported.wanted, setting)
    return not given and any(not host.local and not getattr(host, setting) for host in imported.hosts)


def _common(imported: Imported) -> dict[str, _Setting]:
    """Return the file's defaults: also what config.yaml's defaults must not change for these hosts."""
    ports = Counter(host.port for host in imported.hosts if not host.local)
    common: dict[str, _Setting] = {
        "connection": "ssh",
        "port": ports.most_common(1)[0][0] if ports else 22,
        "jump": None,
    }
    wanted = imported.wanted
    for setting, value in (("user", wanted.user), ("key", wanted.key), ("environment", wanted.environment)):
        if value:
            common[setting] = value
    return common


def _settings(host: Candidate, common: Mapping[str, _Setting]) -> dict[str, _Setting]:
    said: dict[str, _Setting] = {"connection": "local"} if host.local else {"address": host.address}
    if not host.local and host.port != common["port"]:
        said["port"] = host.port
    if host.jump:
        said["jump"] = host.jump[0].host
    for setting, value in (("user", host.user), ("key", host.key), ("groups", host.groups), ("tags", host.tags)):
        if value:
            said[setting] = value
    return said


def _mapping(settings: Mapping[str, _Setting]) -> str:
    return "{" + ", ".join(f"{name}: {_value(value)}" for name, value in settings.items()) + "}"


def _value(value: _Setting) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _word(value)
    return str(value) if isinstance(value, int) else f"[{_list(value)}]"


def _list(words: Iterable[str]) -> str:
    return ", ".join(_word(word) for word in words)


def _word(word: str) -> str:
    return word if _PLAIN.fullmatch(word) else json.dumps(word)
