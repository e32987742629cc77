"""Conversations: append-only histories with optimistic versions."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.chain import AuditChain
from opsbot.adapters.store.codec import COMPACTIONS, MESSAGES, PLACES
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.usage_log import insert_calls
from opsbot.domain import AuditEntry, Compaction, Conversation, Message, Place
from opsbot.errors import Conflict
from opsbot.spending import ModelCall

_rows = schema.conversations.c
_messages = schema.messages.c
_compactions = schema.compactions.c
_SHOWN = schema.conversations.outerjoin(schema.compactions, _compactions.conversation_id == _rows.id)
NEEDING_TURN = select(_rows.place).where(_rows.needs_turn).order_by(_rows.id)


class SqlConversations:
    """Implements `ports.Conversations`."""

    def __init__(self, database: Database, chain: AuditChain) -> None:
        self._database = database
        self._chain = chain

    async def load(self, place: Place) -> Conversation:
        """Return the history since the last reset; an unknown conversation is empty with version 0."""
        return await self._database.read(lambda connection: _load(connection, place))

    async def append(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        *,
        needs_turn: bool,
        entries: Sequence[AuditEntry] = (),
        model_calls: Sequence[ModelCall] = (),
        compaction: Compaction | None = None,
    ) -> Conversation:
        """Append and return the new state; the version grows by one even without messages. Raises Conflict."""
        after = replace(
            conversation,
            messages=(*conversation.messages, *messages),
            version=conversation.version + 1,
            compaction=compaction or conversation.compaction,
        )

        def work(connection: Connection) -> None:
            _advance(connection, conversation, {"needs_turn": needs_turn})
            if compaction is not None:
                _put_compaction(connection, conversation.id, COMPACTIONS.encode(compaction))
            rows = [
                {
                    "conversation_id": conversation.id,
                    "version": after.version,
                    "position": position,
                    "message": MESSAGES.encode(message),
                }
                for position, message in enumerate(messages)
            ]
            if rows:
                connection.execute(insert(schema.messages), rows)
            insert_calls(connection, model_calls)
            self._chain.append(connection, entries)

        await self._database.write(work)
        return after

    async def needing_turn(self) -> tuple[Place, ...]:
        """Return the places last saved with `needs_turn`, by id."""
        rows = await self._database.read(lambda connection: connection.execute(NEEDING_TURN).scalars().all())
        return tuple(PLACES.decode(text) for text in rows)

    async def reset(self, conversation: Conversation, *, entries: Sequence[AuditEntry] = ()) -> Conversation:
        """Forget the history, whose rows stay, and its outputs. Raises Conflict."""
        after = Conversation(conversation.place, version=conversation.version + 1)

        def work(connection: Connection) -> None:
            _advance(connection, conversation, {"needs_turn": False, "reset_version": after.version})
            connection.execute(delete(schema.compactions).where(_compactions.conversation_id == conversation.id))
            connection.execute(delete(schema.outputs).where(schema.outputs.c.conversation_id == conversation.id))
            self._chain.append(connection, entries)

        await self._database.write(work)
        return after


def _load(connection: Connection, place: Place) -> Conversation:
    known = connection.execute(
        select(_rows.place, _rows.version, _rows.reset_version, _compactions.record)
        .select_from(_SHOWN)
        .where(_rows.id == place.key)
    ).one_or_none()
    if known is None:
        return Conversation(place)
    texts = connection.execute(
        select(_messages.message)
        # Up to the version just read: on PostgreSQL a newer one may be committed between the two statements.
        .where(
            _messages.conversation_id == place.key,
            _messages.version > known.reset_version,
            _messages.version <= known.version,
        )
        .order_by(_messages.version, _messages.position)
    ).scalars()
    messages = tuple(MESSAGES.decode(text) for text in texts)
    compaction = COMPACTIONS.decode(known.record) if known.record is not None else None
    return Conversation(PLACES.decode(known.place), messages, known.version, compaction)


def _put_compaction(connection: Connection, conversation_id: str, record: str) -> None:
    here = _compactions.conversation_id == conversation_id
    changed = update(schema.compactions).where(here).values(record=record).returning(_compactions.conversation_id)
    if connection.execute(changed).first() is None:
        connection.execute(insert(schema.compactions).values(conversation_id=conversation_id, record=record))


def _advance(connection: Connection, conversation: Conversation, changes: dict[str, bool | int]) -> None:
    """Move the stored version from `conversation.version` to the next one. Raises Conflict."""
    if conversation.version == 0:
        values = {
            "id": conversation.id,
            "place": PLACES.encode(conversation.place),
            "version": 1,
            "reset_version": 0,
            **changes,
        }
        moved = connection.execute(schema.insert_new(connection, schema.conversations, values, returning=_rows.id))
    else:
        moved = connection.execute(
            update(schema.conversations)
            .where(_rows.id == conversation.id, _rows.version == conversation.version)
            .values(version=conversation.version + 1, **changes)
            .returning(_rows.id)
        )
    if moved.first() is None:
        raise Conflict(f"The conversation {conversation.id} moved on since version {conversation.version} was read.")
