"""A load balancer for tests: hands each request to the next of its backends, and to another one if that is gone."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web


class Balancer:
    """`ports` may be changed at any time; `served` counts by port."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.served: Counter[int] = Counter()
        self.twice = False
        self._turn = 0
        self._session: aiohttp.ClientSession | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Pass one request on; with `twice` to two backends at the same moment, as a hasty client would."""
        body = await request.read()
        headers = {
            name: value for name, value in request.headers.items() if name.lower().startswith(("x-", "content-t"))
        }
        self._turn += 1
        order = [*self.ports[self._turn % len(self.ports) :], *self.ports[: self._turn % len(self.ports)]]
        if self.twice:
            both = await asyncio.gather(*(self._ask(port, request.path, body, headers) for port in order[:2]))
            return both[0] or both[1] or web.Response(status=502)
        for port in order:
            if (answer := await self._ask(port, request.path, body, headers)) is not None:
                return answer
        return web.Response(status=502)

    async def _ask(self, port: int, path: str, body: bytes, headers: dict[str, str]) -> web.Response | None:
        assert self._session is not None
        try:
            async with self._session.post(f"http://127.0.0.1:{port}{path}", data=body, headers=headers) as answer:
                self.served[port] += 1
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
        except aiohttp.ClientError:
            return None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve on a free port; yield the URL to send events to."""
        application = web.Application()
        application.add_routes([web.post("/{path:.*}", self.handle)])
        runner = web.AppRunner(application, access_log=None)
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
            await runner.cleanup()
