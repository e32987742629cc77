"""Whether a host key that was seen may be pinned: what was pinned before, and what a second source says of it."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from opsbot.domain import Host
from opsbot.errors import ConfigError

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")
# How `ssh-keygen -l` calls the types.
_KINDS = {"ED25519": "ssh-ed25519", "RSA": "ssh-rsa", "ECDSA": "ecdsa-sha2-"}


def fingerprint_of(key: str) -> str:
    """Return `SHA256:…` of a line `ssh-ed25519 AAAA…`, as `ssh-keygen -l` prints it. Raises ValueError."""
    blob = base64.b64decode(key.split()[1], validate=True)
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


class Standing(StrEnum):
    """How a key stands to what is pinned."""

    PINNED = "pinned"
    NEW = "new"
    CHANGED = "changed"


class Second(StrEnum):
    """What the second source says of a key; NONE: there is no second source."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    SILENT = "says nothing of this key"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A key a host proved, and what is to be thought of it."""

    host: Host
    key: str
    standing: Standing
    second: Second

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.key)

    def obstacle(self, *, replace: bool) -> str:
        """Say why this key must not be pinned, or ""."""
        if self.second is Second.DISAGREES:
            return "the second source has another key for this host: somebody may be in between"
        if self.standing is Standing.CHANGED and not replace:
            return "another key is pinned; if the host was reinstalled, check on the host itself and add --replace"
        return ""


@dataclass(frozen=True, slots=True)
class _Line:
    """One key of the second source. `names` is empty where the line names no host, `kind` where it names no type."""

    fingerprint: str
    names: tuple[str, ...]
    kind: str
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class SecondSource:
    """Keys or fingerprints fetched by another way: a known_hosts file, .pub lines, output of `ssh-keygen -l`."""

    lines: tuple[_Line, ...]

    @staticmethod
    def read(text: str, source: str) -> "SecondSource":
        """Read it. Raises ConfigError, with every line that is neither a key nor a fingerprint."""
        lines: list[_Line] = []
        faults = []
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                lines += _read_line(line.split())
            except (ValueError, IndexError, binascii.Error):
                faults.append(
                    f"{source}:{number}: neither a known_hosts line, a public key, nor a `SHA256:…` fingerprint."
                )
        if faults or not lines:
            raise ConfigError(*(faults[:20] or [f"{source}: holds no key and no fingerprint."]))
        return SecondSource(tuple(lines))

    def judge(self, host: Host, key: str, *, alone: bool) -> Second:
        """Compare; lines without a name count only if this host is asked `alone`.

        A host has one key of each type, so only another key of the same type contradicts.
        """
        seen = fingerprint_of(key)
        about = [line for line in self.lines if _is_about(line, host) or (alone and not line.names)]
        if any(line.revoked and line.fingerprint == seen for line in self.lines):
            return Second.DISAGREES
        if any(line.fingerprint == seen and not line.revoked for line in about):
            return Second.AGREES
        kind = key.split()[0]
        contradicts = any(kind.startswith(line.kind) and not line.revoked for line in about)
        return Second.DISAGREES if contradicts else Second.SILENT


def seen(host: Host, key: str, source: SecondSource | None, *, alone: bool) -> Seen:
    """Put together what is known about a key."""
    pins = {" ".join(line.split()[:2]) for line in host.host_key.splitlines() if line.strip()}
    standing = Standing.PINNED if key in pins else Standing.CHANGED if pins else Standing.NEW
    return Seen(host, key, standing, source.judge(host, key, alone=alone) if source else Second.NONE)


def _read_line(words: list[str]) -> Iterator[_Line]:
    revoked = words[0] == "@revoked"
    if words[0].startswith("@"):
        words = words[1:]
    if found := [word for word in words if _FINGERPRINT.fullmatch(word)]:
        kinds = [kind for word, kind in _KINDS.items() if f"({word})" in words]
        yield _Line(found[0], tuple(_names_in(words, found[0])), kinds[0] if kinds else "", revoked)
    elif words[0] in _KEY_TYPES:
        comment = words[2].rpartition("@")[2] if len(words) > 2 else ""
        yield _Line(fingerprint_of(" ".join(words[:2])), (comment,) if comment else (), words[0], revoked)
    elif words[1] in _KEY_TYPES:
        yield _Line(fingerprint_of(" ".join(words[1:3])), tuple(words[0].split(",")), words[1], revoked)
    else:
        raise ValueError


def _names_in(words: Iterable[str], fingerprint: str) -> Iterator[str]:
    """`256 SHA256:… root@web-1 (ED25519)`: the length, the fingerprint, the comment, the type."""
    for word in words:
        if word != fingerprint and not word.isdecimal() and not word.startswith("("):
            yield from word.rpartition("@")[2].split(",")


def _is_about(line: _Line, host: Host) -> bool:
    address = f"[{host.address}]:{host.port}"
    called = {host.name, address} | ({host.address} if host.port == 22 else set())
    return any(name in called or any(_is_hash_of(name, each) for each in called) for name in line.names)


def _is_hash_of(name: str, plain: str) -> bool:
    """OpenSSH's hashed names: `|1|salt|HMAC-SHA1(salt, name)`, both in base64 (sshd(8), HashKnownHosts)."""
    parts = name.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.new(salt, plain.encode(), hashlib.sha1).digest(), digest)
