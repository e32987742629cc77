"""What the core asks of the world, in its own words; each adapter implements one of these.

Everybody imports them from here; the modules of this package import each other, never this face.

- `models`: language models, as the core asks them
- `chat`: the chat service, who people are there, and what takes its events in
- `hosts`: managed hosts: commands, facts, service managers
- `mail`: events that came in and messages that go out, each once
- `conversations`: histories
- `approvals`: approvals, and the journal of what was sent to hosts
- `holds`: stops and freezes
- `replicas`: the living processes, and who is at work on what
- `audit`: the hash chain
- `samples`: what was measured of hosts
- `usage`: what the model took, and what that costs
- `store`: one database with all of it
- `clock`: time
"""

from opsbot.ports.approvals import Approvals, Operations
from opsbot.ports.audit import AuditLog
from opsbot.ports.chat import Chat, Directory, Handler, LiveText
from opsbot.ports.clock import Clock
from opsbot.ports.conversations import Conversations
from opsbot.ports.holds import Holds, StopSwitch
from opsbot.ports.hosts import Machines, Services, Shell
from opsbot.ports.mail import Inbox, Outbox
from opsbot.ports.models import ChatModel, Done, ModelEvent, ModelRequest, TextDelta, ToolSpec
from opsbot.ports.replicas import Leases, Replicas
from opsbot.ports.samples import Past, Samples
from opsbot.ports.store import Store
from opsbot.ports.usage import Prices, UsageLog

__all__ = [
    "Approvals",
    "AuditLog",
    "Chat",
    "ChatModel",
    "Clock",
    "Conversations",
    "Directory",
    "Done",
    "Handler",
    "Holds",
    "Inbox",
    "Leases",
    "LiveText",
    "Machines",
    "ModelEvent",
    "ModelRequest",
    "Operations",
    "Outbox",
    "Past",
    "Prices",
    "Replicas",
    "Samples",
    "Services",
    "Shell",
    "StopSwitch",
    "Store",
    "TextDelta",
    "ToolSpec",
    "UsageLog",
]
