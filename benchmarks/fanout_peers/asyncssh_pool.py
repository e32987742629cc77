"""asyncssh: one connection a host kept open, one event loop, AES-GCM first."""

import asyncio

import asyncssh
from peer import COMMAND, good, job, serve

work = job()
loop = asyncio.new_event_loop()
connections: dict[str, asyncssh.SSHClientConnection] = {}
gate = asyncio.Semaphore(work.parallel)


async def ask(address: str) -> bool:
    async with gate:
        if address not in connections:
            connections[address] = await asyncssh.connect(
                address,
                work.port,
                username=work.user,
                client_keys=[work.key_file],
                known_hosts=work.known_hosts,
                encryption_algs=["aes128-gcm@openssh.com"],
                config=None,
                agent_path=None,
            )
        return good(str((await connections[address].run(COMMAND)).stdout))


async def everybody() -> int:
    return sum(await asyncio.gather(*(ask(address) for address in work.addresses)))


serve(lambda: loop.run_until_complete(everybody()))
