"""Looks from the bot's machine: health checks by HTTP and TCP, and names; each in time, no redirects, no proxies."""

import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from opsbot.adapters.addresses import addresses, left, permitted
from opsbot.adapters.services.plain import plain_line
from opsbot.domain import CheckResult, HealthCheck

_MAX_HEAD = 16_384
_MAX_BODY = 65_536
_MAX_STATUS_LINE = 1024
_PORTS = {"http": 80, "https": 443}
_AT_ONCE = 16

Item = TypeVar("Item")
Found = TypeVar("Found")


def probe(check: HealthCheck) -> str:
    """Run a health check from here: "" if it passed, else why it failed. Reads no more than the status line."""
    return _examine(check, whole=False).failure


def check_all(checks: Mapping[str, HealthCheck], *, timeout_s: float) -> dict[str, CheckResult]:
    """Run health checks in parallel and look at each answer in full; none takes longer than `timeout_s`."""

    def examine(check: HealthCheck) -> CheckResult:
        return _examine(replace(check, timeout_s=min(check.timeout_s, timeout_s)), whole=True)

    return dict(zip(checks, in_parallel(examine, list(checks.values())), strict=True))


def lookups(names: Sequence[str], *, timeout_s: float) -> dict[str, tuple[str, ...] | None]:
    """Look names up from here, in parallel: sorted addresses, () if there is no such name, None without an answer."""

    def look(name: str) -> tuple[str, ...] | None:
        try:
            found = addresses(name, 0, time.monotonic() + timeout_s)
        except TimeoutError:
            return None
        except socket.gaierror as error:
            return None if error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL) else ()
        except (OSError, ValueError):
            return ()
        return tuple(sorted({str(address[1][0]) for address in found}))

    return dict(zip(names, in_parallel(look, names), strict=True))


def in_parallel(function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """Call the function for each item, at most 16 at once, and return the results in order."""
    if not items:
        return []
    with ThreadPoolExecutor(min(len(items), _AT_ONCE), "opsbot-probe") as pool:
        return list(pool.map(function, items))


@contextmanager
def connected(name: str, port: int, deadline: float) -> Iterator[socket.socket]:
    """Connect to the first of the name's addresses that accepts; those to come share the time that is left."""
    found = permitted(name, addresses(name, port, deadline))
    trouble: OSError = OSError("the name has no addresses")
    for number, (family, address) in enumerate(found):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(left(deadline) / (len(found) - number))
            connection.connect(address)
        except OSError as error:
            connection.close()
            trouble = error
            continue
        with connection:
            connection.settimeout(left(deadline))
            yield connection
        return
    raise trouble


def endpoint(text: str) -> tuple[str, int]:
    """Split `host:port`; an IPv6 address stands in brackets. Raises ValueError."""
    name, _, port = text.rpartition(":")
    if not 0 < int(port) < 65536:
        raise ValueError(f"{port} is not a port")
    return name.strip("[]"), int(port)


# --- one health check ------------------------------------------------------------------------------------------------


def _examine(check: HealthCheck, *, whole: bool) -> CheckResult:
    where = check.tcp or _shown(check.url)
    began = time.monotonic()
    deadline = began + check.timeout_s
    try:
        return _get(check, deadline, whole) if check.url else _connect(check, deadline)
    except TimeoutError:
        failure = f"{where} did not answer within {check.timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        failure = f"{where} has a certificate that does not verify: {error.verify_message}"
    except (OSError, ValueError) as error:
        failure = f"{where} cannot be reached: {getattr(error, 'strerror', None) or error}"
    return CheckResult(target=where, failure=plain_line(failure, limit=300))


def _connect(check: HealthCheck, deadline: float) -> CheckResult:
    name, port = endpoint(check.tcp)
    began = time.monotonic()
    with connected(name, port, deadline):
        return CheckResult(target=check.tcp, latency_ms=_passed_ms(began))


def _get(check: HealthCheck, deadline: float, whole: bool) -> CheckResult:
    """Ask for the URL. The status line decides; with `whole`, headers and body are looked at as far as time allows."""
    url = urlsplit(check.url)
    if url.scheme not in _PORTS:
        raise ValueError("not an http or https URL")
    began = time.monotonic()
    port = url.port or _PORTS[url.scheme]
    with connected(url.hostname or "", port, deadline) as plain, _secured(plain, url) as connection:
        connection.settimeout(left(deadline))
        connection.sendall(_request(url))
        head = _until(connection, deadline, b"\n", _MAX_STATUS_LINE)
        result = replace(_judged(check, head), latency_ms=_passed_ms(began), tls_not_after=_not_after(connection))
        return _read_on(connection, deadline, head, result, check.url) if whole else result


def _judged(check: HealthCheck, head: bytes) -> CheckResult:
    line = head.partition(b"\n")[0].decode("latin-1").strip()
    shown = _shown(check.url)
    status = line.split(" ")[1:2]
    if not line.startswith("HTTP/1.") or not status or not (status[0].isascii() and status[0].isdecimal()):
        return CheckResult(target=shown, failure=f"{shown} did not answer in HTTP")
    code = int(status[0][:9])
    return CheckResult(
        target=shown, status=code, failure="" if 200 <= code < 400 else f"{shown} answered {status[0][:9]}"
    )


def _read_on(connection: socket.socket, deadline: float, head: bytes, result: CheckResult, url: str) -> CheckResult:
    """Add what headers and body tell; the verdict stands, so that a slow page is reported and not failed."""
    if result.status is None:
        return result
    received = head
    try:
        received += b"" if b"\r\n\r\n" in head else _until(connection, deadline, b"\r\n\r\n", _MAX_HEAD)
        headers, _, body = received.partition(b"\r\n\r\n")
        result = replace(result, redirect_host=_redirect_host(headers, url, result.status))
        size = len(body)
        expected = _content_length(headers)
        while size < _MAX_BODY:
            if size >= expected:
                return replace(result, body_bytes=size)
            connection.settimeout(left(deadline))
            piece = connection.recv(_MAX_BODY)
            if not piece:
                return replace(result, body_bytes=size)
            size += len(piece)
        return replace(result, body_bytes=size, note="the body is longer than was read")
    except TimeoutError:
        return replace(result, note="the answer stalled before its end")
    except OSError:
        return replace(result, note="the connection broke before the answer's end")


def _content_length(headers: bytes) -> int:
    """Return how long the body says it is; beyond all bounds if it does not say."""
    found = re.search(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", headers, re.IGNORECASE | re.MULTILINE)
    return int(found.group(1)) if found else sys.maxsize


def _redirect_host(headers: bytes, url: str, status: int) -> str:
    """Return where a redirect leads: `host`, with the port if it is named; "" for anything else."""
    if not 300 <= status < 400:
        return ""
    for line in headers.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "location":
            try:
                parts = urlsplit(urljoin(url, value.strip()))
                port = f":{parts.port}" if parts.port else ""
            except ValueError:
                return "unreadable"
            return plain_line(f"{parts.hostname or ''}{port}", limit=255)
    return ""


def _not_after(connection: socket.socket) -> datetime | None:
    """Return when a verified peer's certificate ends."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    ends = (connection.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None


def _secured(plain: socket.socket, url: SplitResult) -> socket.socket:
    if url.scheme != "https":
        return plain
    return ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)


def _request(url: SplitResult) -> bytes:
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    host = url.netloc.rpartition("@")[2]
    lines = (f"GET {target} HTTP/1.1", f"Host: {host}", "User-Agent: opsbot", "Accept: */*", "Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


def _until(connection: socket.socket, deadline: float, mark: bytes, limit: int) -> bytes:
    received = b""
    while mark not in received and len(received) < limit:
        connection.settimeout(left(deadline))
        piece = connection.recv(limit)
        if not piece:
            break
        received += piece
    return received


def _passed_ms(began: float) -> float:
    return round(1000 * (time.monotonic() - began), 1)


def _shown(url: str) -> str:
    """The request, without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"GET {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path or '/'}"
