"""The file of pinned host keys: `NAME ssh-ed25519 AAAA…` in each line, by the inventory's names."""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping

# What the SSH adapter accepts: RFC 8332 (RSA with SHA-2), RFC 5656, RFC 8709.
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_HEADER = "# Host keys opsbot accepts, one a line: name, type, key. `opsbot hosts trust NAME` adds them.\n"


def host_key_fault(text: str) -> str:
    """Say what is wrong with host keys (`ssh-ed25519 AAAA… [comment]`, one a line), or ""."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for words in lines or [[""]]:
        if words[0] not in KEY_TYPES:
            return f"begins with none of {', '.join(KEY_TYPES)}; copy the whole line of the .pub file."
        try:
            blob = base64.b64decode(words[1], validate=True)
            (size,) = struct.unpack(">I", blob[:4])
        except (IndexError, binascii.Error, struct.error):
            return f"is not a complete {words[0]} key; copy the whole line of the .pub file."
        if blob[4 : 4 + size] != words[0].encode():
            return f"says {words[0]} but holds another kind of key; copy the whole line of the .pub file."
    return ""


def read_host_keys(text: str) -> tuple[Mapping[str, tuple[int, str]], list[tuple[int, str]]]:
    """Return each host's first line number and its keys (one a line), and every fault with its line number."""
    found: dict[str, tuple[int, str]] = {}
    faults = []
    for number, name, key in _entries(text):
        if fault := host_key_fault(key):
            faults.append((number, f"the key of {name[:60]!a} {fault}"))
            continue
        first, before = found.get(name, (number, ""))
        found[name] = (first, f"{before}\n{key}" if before else key)
    return found, faults


def with_host_key(text: str, name: str, key: str) -> str:
    """Return the file's text with this as the host's only key; every other line stays as it is."""
    kept = [line for line in text.splitlines(keepends=True) if line.split(maxsplit=1)[:1] != [name]]
    if kept and not kept[-1].endswith("\n"):
        kept[-1] += "\n"
    return "".join(kept or [_HEADER]) + f"{name} {key}\n"


def _entries(text: str) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        name, _, key = line.strip().partition(" ")
        if name and not name.startswith("#"):
            yield number, name, key.strip()
