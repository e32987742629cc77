"""Certificates in files of a host and at TLS endpoints: taken even if they do not verify, then judged."""

import math
import ssl
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import NameOID

from opsbot.adapters.addresses import left
from opsbot.adapters.probes import connected, endpoint, in_parallel
from opsbot.adapters.services.plain import plain_line
from opsbot.domain import Certificate, CertificateReport, Host
from opsbot.errors import OpsbotError
from opsbot.looks import Look, script_look
from opsbot.ports import Shell

HANDSHAKE_S: Final = 5.0
_MAX_BYTES = 524_288
_MAX_CHAIN = 12
_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"

# Only the blocks of certificates leave the host: a file may hold the private key as well.
_SCRIPT: Final = r"""# opsbot: certificate files
LC_ALL=C; export LC_ALL
bounded() { if command -v timeout >/dev/null 2>&1; then timeout 5 "$@"; else "$@"; fi; }
for file; do
  printf '\n@@opsbot certificate %s\n' "$file"
  if [ -d "$file" ]; then echo "@@opsbot failure it is a directory"
  elif ! [ -e "$file" ]; then echo "@@opsbot failure there is no such file, or its directory may not be read"
  elif ! [ -r "$file" ]; then echo "@@opsbot failure the bot's user may not read it"
  else
    bounded sed -n '/^-----BEGIN CERTIFICATE-----/,/^-----END CERTIFICATE-----/p' "$file" | head -c 65536
  fi
done
exit 0
"""


def looks(host: Host) -> Iterator[Look]:
    """Yield what is sent to look at the certificates among its files."""
    if files := _files(host):
        yield script_look(_SCRIPT, *files)


def certificates(host: Host, shell: Shell, *, timeout_s: float) -> tuple[CertificateReport, ...]:
    """Look at every place the inventory lists for this host: its files in one command, endpoints side by side.

    A place that cannot be looked at is a report with its failure; an unreachable host costs its files only.
    """
    files = _files(host)
    endpoints = [place for place in host.certificates if not place.startswith("/")]
    deadline = time.monotonic() + timeout_s
    with ThreadPoolExecutor(1, "opsbot-certificates") as pool:
        from_host = pool.submit(_of_files, host, shell, files, deadline)
        seen = in_parallel(partial(of_endpoint, until=deadline), endpoints)
        reports = from_host.result() | dict(zip(endpoints, seen, strict=True))
    return tuple(reports[place] for place in dict.fromkeys(host.certificates))


def _files(host: Host) -> list[str]:
    return [place for place in host.certificates if place.startswith("/")]


def _of_files(host: Host, shell: Shell, files: Sequence[str], deadline: float) -> dict[str, CertificateReport]:
    if not files:
        return {}
    try:
        argv = ("sh", "-c", _SCRIPT, "sh", *files)
        output = shell.run(host, argv, timeout_s=left(deadline), max_bytes=_MAX_BYTES).check().stdout
    except (OpsbotError, TimeoutError) as error:
        said = plain_line(str(error) or "no time was left for it", limit=300)
        return {place: CertificateReport(place, failure=said) for place in files}
    return parse_files(output, files)


def parse_files(output: str, files: Sequence[str]) -> dict[str, CertificateReport]:
    """Read the script's output; a file it says nothing of is a failure."""
    bodies: dict[str, str] = {}
    for piece in f"\n{output}".split("\n@@opsbot certificate ")[1:]:
        place, _, body = piece.partition("\n")
        bodies[place] = body
    return {place: _of_file(place, bodies.get(place)) for place in files}


def _of_file(place: str, body: str | None) -> CertificateReport:
    if body is None:
        return CertificateReport(place, failure="the host's answer was cut before it")
    if body.startswith("@@opsbot failure "):
        said = body.partition("\n")[0].removeprefix("@@opsbot failure ")
        return CertificateReport(place, failure=plain_line(said, limit=200))
    blocks = [f"{_BEGIN}{block.partition(_END)[0]}{_END}\n" for block in body.split(_BEGIN)[1:] if _END in block]
    if not blocks:
        return CertificateReport(place, failure="there is no PEM certificate in it")
    chain, unreadable = [], 0
    for block in blocks[:_MAX_CHAIN]:
        found = _parsed(block.encode("ascii", "replace"))
        if found is None:
            unreadable += 1
        else:
            chain.append(found)
    if not chain:
        return CertificateReport(place, failure="the certificate in it cannot be parsed")
    problems = [*_time_problems(chain[0]), *_key_problems(chain[0])]
    if len(blocks) <= _MAX_CHAIN:
        problems += _chain_problems(chain)
    else:
        problems.append(f"it holds {len(blocks)} certificates, of which {_MAX_CHAIN} were looked at")
    problems += [f"{unreadable} more in it cannot be parsed"] if unreadable else []
    return CertificateReport(place, chain=tuple(map(_described, chain)), problems=tuple(problems))


# --- endpoints -------------------------------------------------------------------------------------------------------


def of_endpoint(place: str, *, until: float = math.inf) -> CertificateReport:
    """Shake hands with `host:port`: once to take the certificate whatever it is, once more to verify it."""
    deadline = min(time.monotonic() + HANDSHAKE_S, until)
    try:
        name, port = endpoint(place)
        der, version = _handshake(name, port, deadline, _taking_anything())
    except TimeoutError:
        return CertificateReport(place, failure=f"no TLS handshake within {HANDSHAKE_S:g} s")
    except ssl.SSLError as error:
        return CertificateReport(place, failure=f"it does not speak TLS with us: {_reason(error)}")
    except (OSError, ValueError) as error:
        said = plain_line(str(getattr(error, "strerror", None) or error), limit=200)
        return CertificateReport(place, failure=f"it cannot be reached: {said}")
    leaf = _parsed(der)
    if leaf is None:
        return CertificateReport(place, failure="its certificate cannot be parsed")
    verified, refusal = _verified(name, port, deadline)
    problems = [*_time_problems(leaf), *_name_problems(leaf, name), *_key_problems(leaf)]
    problems += [refusal] if refusal else []
    problems += [f"speaks {version} only"] if version in ("TLSv1", "TLSv1.1", "SSLv3") else []
    return CertificateReport(place, chain=(_described(leaf),), problems=tuple(problems), verified=verified)


def _taking_anything() -> ssl.SSLContext:
    """Accept what old servers offer too: nothing is sent, only looked at."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def _handshake(name: str, port: int, deadline: float, context: ssl.SSLContext) -> tuple[bytes, str]:
    with connected(name, port, deadline) as plain:
        plain.settimeout(left(deadline))
        with context.wrap_socket(plain, server_hostname=name or None) as secured:
            return secured.getpeercert(binary_form=True) or b"", secured.version() or ""


def _verified(name: str, port: int, deadline: float) -> tuple[bool | None, str]:
    """Verify by the bot's trust store: whether it does, and why not."""
    try:
        _handshake(name, port, deadline, ssl.create_default_context())
    except ssl.SSLCertVerificationError as error:
        said = plain_line(error.verify_message, limit=150)
        if "unable to get local issuer" in said:
            said += " (a private authority, or an intermediate certificate that the server does not send)"
        return False, f"does not verify: {said}"
    except ssl.SSLError as error:
        return False, f"does not verify: {_reason(error)}"
    except (OSError, ValueError):
        return None, "was not verified: the second connection failed"
    return True, ""


def _reason(error: ssl.SSLError) -> str:
    words = (error.reason or str(error)).replace("_", " ").lower()
    return plain_line(words, limit=150)


# --- what a certificate says -----------------------------------------------------------------------------------------


def _parsed(encoded: bytes) -> x509.Certificate | None:
    try:
        if encoded.startswith(b"-----"):
            return x509.load_pem_x509_certificate(encoded)
        return x509.load_der_x509_certificate(encoded)
    except (ValueError, TypeError):
        return None


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=_name(certificate.subject),
        issuer=_name(certificate.issuer),
        names=tuple(plain_line(name, limit=255) for name in _names(certificate)[:50]),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        key=_key(certificate),
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
    )


def _name(name: x509.Name) -> str:
    """Return the common name, or the whole name in the form of RFC 4514."""
    with suppress(ValueError, TypeError):
        common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
        return plain_line(str(common[0].value) if common else name.rfc4514_string(), limit=120)
    return "unreadable"


def _names(certificate: x509.Certificate) -> list[str]:
    with suppress(x509.ExtensionNotFound, ValueError, TypeError):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = map(str, names.get_values_for_type(x509.IPAddress))
        return [*names.get_values_for_type(x509.DNSName), *addresses]
    return []


def _key(certificate: x509.Certificate) -> str:
    with suppress(ValueError, TypeError, AttributeError):
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            return f"RSA {key.key_size}"
        if isinstance(key, ec.EllipticCurvePublicKey):
            return f"EC {key.curve.name}"
        return "DSA" if isinstance(key, dsa.DSAPublicKey) else type(key).__name__.removesuffix("PublicKey").strip("_")
    return "unknown"


def _time_problems(certificate: x509.Certificate) -> list[str]:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        return ["it has expired"]
    if certificate.not_valid_before_utc > now + timedelta(seconds=60):
        return ["it is not valid yet"]
    return []


def _name_problems(certificate: x509.Certificate, name: str) -> list[str]:
    """Compare by RFC 6125: a wildcard stands for one whole leftmost label; the common name does not count."""
    wanted = name.lower().rstrip(".")
    known = [each.lower() for each in _names(certificate)]
    try:
        wanted = str(ip_address(wanted))
        parent = ""
    except ValueError:
        parent = wanted.partition(".")[2]
    if wanted in known or (parent and f"*.{parent}" in known):
        return []
    return [f"is not for {plain_line(name, limit=255)}"]


def _key_problems(certificate: x509.Certificate) -> list[str]:
    kind, _, bits = _key(certificate).partition(" ")
    return [f"its key is weak ({kind} {bits})"] if kind == "RSA" and int(bits) < 2048 else []


def _chain_problems(chain: Sequence[x509.Certificate]) -> list[str]:
    """Check that each certificate is issued by the next one, and that none of the others has expired."""
    now = datetime.now(UTC)
    problems = []
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            problems.append(f"certificate {number} is not issued by the one after it")
    problems += [
        f"certificate {number} of the chain has expired"
        for number, certificate in enumerate(chain[1:], 2)
        if certificate.not_valid_after_utc <= now
    ]
    if len(chain) == 1 and chain[0].issuer == chain[0].subject:
        problems.append("it is signed by itself")
    return problems
