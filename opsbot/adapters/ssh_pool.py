"""Warm connections, one per host and user, shared by several commands, closed when idle, never waited for too long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import paramiko

from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_keys import KeyRing
from opsbot.adapters.ssh_link import Link, cause_of, check_host_key, dial, pins_of, place_of
from opsbot.domain import Host
from opsbot.errors import HostUnreachable

# A pooled link must answer within this share of the time left, so that a fresh one still has a chance.
_POOLED_SHARE = 0.5
_POOLED_MAX_S = 10.0
# A failure by time-out counts against the host only if it was given this long.
_FAIR_CHANCE_S = 2.0
# Past its deadline by this much, a call can only be stuck in a write; then its link is cut.
_STUCK_GRACE_S = 0.3
_WATCH_INTERVAL_S = 0.1
# How often, and how far apart, a session is asked for on a link without others.
_REFUSALS = 10
_REFUSAL_PAUSE_S = 0.05

_Key: TypeAlias = tuple[str, int, str, str, str]


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much is kept open, and for how long.

    `channels_per_host` stays under sshd's default MaxSessions of 10 (sshd_config(5)). After a failed connection, calls
    within `suspect_s` are answered at once with that failure. A connection is renewed after
    `commands_per_connection`, because paramiko remembers every channel it ever had (`Transport.channels_seen`).
    """

    connections: int = 256
    channels_per_host: int = 8
    idle_s: float = 300.0
    suspect_s: float = 5.0
    commands_per_connection: int = 10_000


@dataclass(slots=True)
class _Slot:
    """What is known about one host and user; guarded by the pool's lock."""

    link: Link | None = None
    connecting: bool = False
    failed_at: float = float("-inf")
    failure: str = ""


class LinkPool:
    """Hands out sessions on warm links. One thread of its own closes idle links and cuts stuck ones."""

    def __init__(self, limits: PoolLimits) -> None:
        self._limits = limits
        self._keys = KeyRing()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # a link or a channel became free, or a link failed
        self._housework = threading.Condition(self._lock)  # the janitor's alarm clock
        self._slots: dict[_Key, _Slot] = {}
        self._watched: dict[object, tuple[float, Link]] = {}
        self._janitor: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def session(self, host: Host, deadline: Deadline) -> Iterator[paramiko.Channel]:
        """Open a channel on a warm or new link. After a body that failed, or gave up, the link is not used again.

        Raises:
            HostUnreachable: no channel within the deadline; nothing was sent.
        """
        link, channel = self._open(host, deadline)
        done = False
        try:
            with self.watch(link, deadline):
                yield channel
                done = channel.exit_status != -1
        finally:
            with self.watch(link, Deadline(0)):
                polite = link.writable and (done or link.channels > 1)
                self._give_back(link, channel if polite else None, retire=not done)

    @contextmanager
    def watch(self, link: Link, deadline: Deadline) -> Iterator[None]:
        """Have the link cut if this block is still busy well past the deadline: a write has no time-out otherwise."""
        token = object()
        with self._changed:
            if self._closed:
                link.close()
            if not self._watched:
                self._wake_janitor()
            self._watched[token] = (deadline.at + _STUCK_GRACE_S, link)
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(token, None)

    def close(self) -> None:
        """Close every link, also those in use, and end the pool's thread."""
        with self._changed:
            self._closed = True
            links = {slot.link for slot in self._slots.values() if slot.link} | {w[1] for w in self._watched.values()}
            self._slots.clear()
            self._changed.notify_all()
            self._housework.notify()
        for link in links:
            link.close()
        if self._janitor:
            self._janitor.join()

    def _open(self, host: Host, deadline: Deadline) -> tuple[Link, paramiko.Channel]:
        """Open a channel; a pooled link that turns out dead is replaced once, because nothing was sent on it yet."""
        fresh = False
        refusals = 0
        while True:
            link, fresh = self._lease(host, deadline, insist=fresh)
            try:
                with self.watch(link, deadline):
                    return link, link.open_channel(deadline if fresh else _share(deadline))
            except paramiko.ChannelException as error:
                refusals += 1
                self._make_room(link, error, patient=refusals <= _REFUSALS, hurried=deadline.passed)
            except (paramiko.SSHException, OSError, EOFError) as error:
                self._give_back(link, None, retire=True)
                if fresh or deadline.passed:
                    raise HostUnreachable(_no_session(host, error)) from error
                fresh = True

    def _make_room(self, link: Link, error: paramiko.ChannelException, *, patient: bool, hurried: bool) -> None:
        """The host refused one more session (sshd's MaxSessions): wait for the others to end.

        Without others, a session that just ended may still count on the host's side, for a moment.
        """
        with self._changed:
            others = link.channels - 1
            link.limit = max(others, 1)
        self._give_back(link, None, retire=False)
        if hurried or not (others or patient):
            raise HostUnreachable(_no_session(link.host, error)) from error
        if not others:
            time.sleep(_REFUSAL_PAUSE_S)

    def _lease(self, host: Host, deadline: Deadline, *, insist: bool) -> tuple[Link, bool]:
        """Reserve a channel on the host's link, and say whether the link is new (or `insist`ed to be replaced)."""
        with self._changed:
            link = self._wait_for_turn(host, deadline)
            slot = self._slot(host)
            if link:
                link.channels += 1
                link.served += 1
                return link, insist
            slot.connecting = True
        return self._connect_slot(host, slot, deadline), True

    def _wait_for_turn(self, host: Host, deadline: Deadline) -> Link | None:
        """Return a link with room, or None if the caller is to connect. The lock is held."""
        while True:
            if self._closed:
                raise HostUnreachable(f"opsbot is stopping; nothing was run on {host.name}.")
            slot = self._slot(host)
            link = slot.link if slot.link and slot.link.alive and not slot.link.retired else None
            if link and link.channels < link.limit:
                return link
            if not link and not slot.connecting:
                self._refuse_suspect(host, slot)
                return None
            if deadline.passed:
                raise HostUnreachable(_busy(host, link, deadline))
            self._changed.wait(deadline.left_s)

    def _refuse_suspect(self, host: Host, slot: _Slot) -> None:
        age_s = time.monotonic() - slot.failed_at
        if age_s < self._limits.suspect_s:
            raise HostUnreachable(f"{slot.failure} (That was {age_s:.1f} s ago; not tried again yet.)")

    def _connect_slot(self, host: Host, slot: _Slot, deadline: Deadline) -> Link:
        started_at = time.monotonic()
        link: Link | None = None
        failure = ""
        try:
            link = self._connect(host, deadline)
            return link
        except HostUnreachable as error:
            failure = str(error)
            raise
        finally:
            now = time.monotonic()
            with self._changed:
                slot.connecting = False
                old, slot.link = slot.link, link
                if link:
                    link.channels, link.served, link.limit = 1, 1, self._limits.channels_per_host
                elif failure and (not deadline.passed or now - started_at >= _FAIR_CHANCE_S):
                    slot.failed_at, slot.failure = now, failure
                self._changed.notify_all()
            if old:
                self._retire(old)

    def _connect(self, host: Host, deadline: Deadline) -> Link:
        pins, key = pins_of(host), self._keys.load(host.key_file)
        link = dial(host, deadline)
        try:
            with self.watch(link, deadline):
                check_host_key(link, pins, deadline)
                link.authenticate(key, deadline)
        except BaseException:
            link.close()
            raise
        return link

    def _give_back(self, link: Link, channel: paramiko.Channel | None, *, retire: bool) -> None:
        """Release a reserved channel; `channel` is closed politely, None is not worth the attempt."""
        if channel:
            with suppress(paramiko.SSHException, OSError, EOFError):
                channel.close()
        with self._changed:
            link.channels -= 1
            link.idle_since = time.monotonic()
            link.retired = link.retired or retire or link.served >= self._limits.commands_per_connection
            doomed = [link] if link.retired and not link.channels else []
            doomed += self._surplus()
            self._forget(doomed)
            self._changed.notify_all()
        for each in doomed:
            each.close()

    def _retire(self, link: Link) -> None:
        with self._changed:
            link.retired = True
            unused = not link.channels
        if unused:
            link.close()

    def _surplus(self) -> list[Link]:
        """Idle links over the limit, longest unused first. The lock is held."""
        if len(self._slots) <= self._limits.connections:
            return []
        links = [slot.link for slot in self._slots.values() if slot.link]
        idle = sorted((each for each in links if not each.channels), key=lambda each: each.idle_since)
        return idle[: max(0, len(links) - self._limits.connections)]

    def _forget(self, links: list[Link]) -> None:
        for key, slot in list(self._slots.items()) if links else ():
            if slot.link in links:
                slot.link = None
                if not slot.connecting:
                    del self._slots[key]

    def _slot(self, host: Host) -> _Slot:
        key = (host.address, host.port, host.user, host.key_file, host.host_key)
        return self._slots.setdefault(key, _Slot())

    def _wake_janitor(self) -> None:
        if self._janitor is None and not self._closed:
            self._janitor = threading.Thread(target=self._keep_house, name="opsbot-ssh-pool", daemon=True)
            self._janitor.start()
        self._housework.notify()

    def _keep_house(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                self._housework.wait(self._next_look_s())
                doomed = self._overdue() + self._expired()
                self._forget(doomed)
            for link in doomed:
                link.close()

    def _next_look_s(self) -> float | None:
        if self._watched:
            return _WATCH_INTERVAL_S
        idle = [slot.link.idle_since for slot in self._slots.values() if slot.link and not slot.link.channels]
        return max(0.0, min(idle) + self._limits.idle_s - time.monotonic()) + 0.01 if idle else None

    def _overdue(self) -> list[Link]:
        now = time.monotonic()
        return list({link for overdue_at, link in self._watched.values() if now > overdue_at})

    def _expired(self) -> list[Link]:
        now = time.monotonic()
        return [
            slot.link
            for slot in self._slots.values()
            if slot.link and not slot.link.channels and now - slot.link.idle_since >= self._limits.idle_s
        ]


def _share(deadline: Deadline) -> Deadline:
    return Deadline(min(deadline.left_s * _POOLED_SHARE, _POOLED_MAX_S))


def _no_session(host: Host, error: BaseException) -> str:
    return f"{place_of(host)} accepted the log-in but opened no session: {cause_of(error)}. Nothing was run."


def _busy(host: Host, link: Link | None, deadline: Deadline) -> str:
    why = f"still runs {link.channels} other commands of opsbot's" if link else "is still being connected to"
    return f"{place_of(host)} {why} after {deadline.timeout_s:.1f} s. Nothing was run."
