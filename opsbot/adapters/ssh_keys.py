"""Keys: the host keys an inventory pins, and the private keys we log in with."""

import base64
import binascii
import hashlib
import os
import stat
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import paramiko

from opsbot.errors import HostUnreachable

# Key format -> signature algorithms we accept for it. RFC 8332 (SHA-2 for RSA), RFC 5656, RFC 8709; no ssh-rsa (SHA-1),
# no DSA.
SIGNATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ssh-ed25519": ("ssh-ed25519",),
        "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
        "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
        "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
        "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
    }
)
_OTHERS_MAY_USE = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A public host key in wire form (RFC 4253, section 6.6)."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """`SHA256:…` as `ssh-keygen -l` prints it."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """Return `SHA256:…` of a public key in wire form."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def parse_pins(text: str) -> tuple[PinnedKey, ...]:
    """Read host keys, one a line, as `ssh-ed25519 AAAA… [comment]`; blank lines are skipped.

    Raises:
        ValueError: a line is not a public key of a kind we accept; the text says which.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return tuple(_parse_pin(words) for words in lines)


def _parse_pin(words: Sequence[str]) -> PinnedKey:
    kind = words[0]
    if kind not in SIGNATURES:
        raise ValueError(f"{kind[:40]!r} is not a host key type opsbot accepts ({', '.join(SIGNATURES)})")
    try:
        blob = base64.b64decode(words[1], validate=True)
        (size,) = struct.unpack(">I", blob[:4])
    except (IndexError, binascii.Error, struct.error) as error:
        raise ValueError(f"the {kind} host key is not valid base64 of a public key") from error
    if blob[4 : 4 + size] != kind.encode():
        raise ValueError(f"the {kind} host key holds a key of another type")
    return PinnedKey(kind, blob)


def signatures_of(pins: Sequence[PinnedKey]) -> tuple[str, ...]:
    """The algorithms a host must use to prove one of these keys."""
    return tuple(dict.fromkeys(name for pin in pins for name in SIGNATURES[pin.kind]))


def public_key_of(path: str) -> str:
    """Return the public half of a private key file, as `ssh-ed25519 AAAA…`.

    Raises:
        HostUnreachable: the file cannot be used, as `KeyRing.load`.
    """
    key = KeyRing().load(path)
    return f"{key.get_name()} {key.get_base64()}"


class KeyRing:
    """Private keys from files, read again only when the file changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, tuple[tuple[int, int, int], paramiko.PKey]] = {}

    def load(self, path: str) -> paramiko.PKey:
        """Return the ed25519, ecdsa or rsa key in this file.

        Raises:
            HostUnreachable: it is missing, unreadable, open to other users, has a passphrase or another format.
        """
        found = _inspect(path)
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        with self._lock:
            known = self._keys.get(path)
            if known is None or known[0] != version:
                known = self._keys[path] = (version, _read(path))
            return known[1]


def _inspect(path: str) -> os.stat_result:
    if not path:
        raise HostUnreachable("The inventory names no `key_file` for this host, and no other key is ever tried.")
    try:
        found = os.stat(path)
    except OSError as error:
        raise HostUnreachable(f"The key file {path} cannot be read: {error.strerror}.") from error
    # As OpenSSH: only the owner is held to this, because only the owner can mend it.
    if found.st_uid == os.getuid() and found.st_mode & _OTHERS_MAY_USE:
        mode = stat.S_IMODE(found.st_mode)
        raise HostUnreachable(f"The key file {path} can be used by others (mode {mode:04o}); run `chmod 600 {path}`.")
    return found


def _read(path: str) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise HostUnreachable(f"The key file {path} cannot be read: {error.strerror}.") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:
        # cryptography says TypeError for "a password is needed".
        raise HostUnreachable(
            f"The key file {path} has a passphrase, and nobody is there to type it; "
            "give opsbot a key of its own without one."
        ) from error
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        # The cause is left out of the text: it could quote the file.
        raise HostUnreachable(
            f"The key file {path} holds no ed25519, ecdsa or rsa private key opsbot can read."
        ) from error
