"""Keeps strangers out: foreign Host names (DNS rebinding), foreign origins, and scripts from elsewhere."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OWN_NAMES = frozenset({"127.0.0.1", "localhost"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse foreign Host and Origin headers with 403; add the security headers to every plain answer."""
    port = _local_port(request)
    if not _is_own_host(request.headers.get("Host", ""), port):
        return web.Response(status=403, text="unknown host")
    origin = request.headers.get("Origin")
    if origin is not None and not _is_own_origin(origin, port):
        return web.Response(status=403, text="unknown origin")
    response = await handler(request)
    if not response.prepared:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
    return response


def _is_own_host(host: str, own_port: int | None) -> bool:
    name, _, port = host.partition(":")
    # slack_sdk's builtin socket client sends no port.
    return name in _OWN_NAMES and port in ("", str(own_port))


def _is_own_origin(origin: str, port: int | None) -> bool:
    parts = urlsplit(origin)
    return parts.scheme == "http" and parts.hostname in _OWN_NAMES and parts.port == port


def _local_port(request: web.Request) -> int | None:
    if request.transport is None:
        return None
    address = request.transport.get_extra_info("sockname")
    return int(address[1]) if address else None
