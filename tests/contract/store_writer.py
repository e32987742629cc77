"""A process that writes to a store without end, reporting each finished write: to be killed in the middle."""

import asyncio
import sys
import uuid
from dataclasses import replace

from opsbot.adapters.store import SqlStore, open_store
from opsbot.domain import ApprovalState
from tests.records import CAPS, KEY, PLACE, approval, entry, operation, said

REQUESTED, CHANGED, CLAIMED, SAID = "requested", "changed", "claimed", "said"


async def write_without_end(store: SqlStore) -> None:
    conversation = await store.conversations.load(PLACE)
    while True:
        made = await store.approvals.add(approval(uuid.uuid4().hex), entry(REQUESTED))
        print(REQUESTED, flush=True)
        running = replace(made, state=ApprovalState.EXECUTING)
        await store.approvals.change(running, expected=(ApprovalState.PENDING, 1), entries=[entry(CHANGED)])
        print(CHANGED, flush=True)
        await store.operations.claim(operation(running, "web-1", running.id), entry(CLAIMED), caps=CAPS)
        print(CLAIMED, flush=True)
        conversation = await store.conversations.append(conversation, [said("one"), said("two")], needs_turn=True)
        print(SAID, flush=True)


if __name__ == "__main__":
    asyncio.run(write_without_end(open_store(sys.argv[1], audit_key=KEY)))
