"""Warm connections, one per host and log-in, shared by commands, closed when idle, never waited for too long."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import paramiko

from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_dial import dial
from opsbot.adapters.ssh_jump import FindHost, Tunnel, jump_of, no_jumps
from opsbot.adapters.ssh_keys import KeyRing, parse_pins
from opsbot.adapters.ssh_link import Link, cause_of, check_host_key, pins_of, place_of, shown_key
from opsbot.adapters.ssh_slots import PoolLimits, Slot, Slots
from opsbot.domain import Host
from opsbot.errors import HostBusy, HostUnreachable, Stage

# A pooled link must answer within this share of the time left, so that a fresh one still has a chance.
_POOLED_SHARE = 0.5
_POOLED_MAX_S = 10.0
# A failure by time-out counts against the host only if it was given this long.
_FAIR_CHANCE_S = 2.0
# Past its deadline by this much, a call can only be stuck in a write; then its link is cut.
_STUCK_GRACE_S = 0.3
_WATCH_INTERVAL_S = 0.1
# A host without room for a session of the probes' is asked by commands for so long.
NO_ROOM_S = 600.0
# How often, and how far apart, a session is asked for on a link without others.
_REFUSALS = 10
_REFUSAL_PAUSE_S = 0.05


class _NoTunnel(Exception):
    """The jump host is well, but does not connect to the target."""


class LinkPool:
    """Hands out sessions on warm links. One thread of its own closes idle links and cuts stuck ones."""

    def __init__(
        self, limits: PoolLimits, find: FindHost = no_jumps, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._find = find
        self._monotonic = monotonic
        self._keys = KeyRing()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # a link or a channel became free, or a link failed
        self._housework = threading.Condition(self._lock)  # the janitor's alarm clock
        self._slots = Slots(limits)
        self._watched: dict[object, tuple[float, Link]] = {}
        self._janitor: threading.Thread | None = None
        self._closed = False

    @contextmanager
    def session(self, host: Host, deadline: Deadline) -> Iterator[paramiko.Channel]:
        """Open a channel on a warm or new link. After a body that failed, or gave up, the link is not used again.

        Raises:
            HostUnreachable: no channel within the deadline; nothing was sent.
        """
        link, channel = self._open(host, deadline, lambda link, within: link.open_channel(within))
        done = False
        try:
            with self.watch(link, deadline):
                yield channel
                done = channel.exit_status != -1
        finally:
            with self.watch(link, Deadline(0)):
                polite = link.writable and (done or link.channels > 1 or link.tunnels > 0)
                if done:
                    self.saw(host)
                self._give_back(link, channel if polite else None, retire=not done)

    @contextmanager
    def borrow(self, host: Host, deadline: Deadline) -> Iterator[Link]:
        """Keep a warm or new link open, as if a command ran on it. It may turn out to be dead.

        Raises:
            HostUnreachable: no link within the deadline.
        """
        link, _ = self._lease(host, deadline, insist=False)
        try:
            yield link
        finally:
            with self.watch(link, Deadline(0)):
                self._give_back(link, None, retire=False)

    def scan(self, host: Host, deadline: Deadline) -> str:
        """Ask a host for its key on a connection of its own, through its jump host if it has one; nobody logs in.

        Raises:
            HostUnreachable: it cannot be reached in time, or has no acceptable key.
        """
        try:
            pins = parse_pins(host.host_key)
        except ValueError:
            pins = ()
        link = self._dial(host, deadline)
        try:
            with self.watch(link, deadline):
                return shown_key(link, pins, deadline)
        finally:
            self._close(link)

    def may_probe(self, host: Host) -> bool:
        """Whether a probe channel is worth a try."""
        with self._lock:
            return self._monotonic() >= self._slots.of(host).no_probe_until

    def bar_probes(self, host: Host, seconds: float) -> None:
        """Ask this host by commands for so long."""
        with self._lock:
            self._slots.of(host).no_probe_until = self._monotonic() + seconds

    def end_probe(self, link: Link, *, retire: bool) -> None:
        """Close the link's probe channel; whoever calls holds its turn."""
        channel, link.probe = link.probe, None
        with self.watch(link, Deadline(0)), suppress(paramiko.SSHException, OSError, EOFError):
            if channel and link.roomy:
                channel.close()
        with self._changed:
            link.retired = link.retired or retire

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
            links = set(self._slots.links()) | {watched[1] for watched in self._watched.values()}
            self._slots.clear()
            self._changed.notify_all()
            self._housework.notify()
        for link in links:
            link.close()
        if self._janitor:
            self._janitor.join()

    def _open(
        self, host: Host, deadline: Deadline, ask: Callable[[Link, Deadline], paramiko.Channel], *, tunnel: bool = False
    ) -> tuple[Link, paramiko.Channel]:
        """Open a channel; a pooled link that turns out dead is replaced once, because nothing was sent on it yet."""
        fresh = False
        refusals = 0
        while True:
            link, fresh = self._lease(host, deadline, insist=fresh, tunnel=tunnel)
            try:
                with self.watch(link, deadline):
                    return link, ask(link, deadline if fresh else _share(deadline))
            except _NoTunnel:
                self._give_back(link, None, retire=False)
                raise
            except paramiko.ChannelException as error:
                refusals += 1
                self._make_room(link, error, patient=refusals <= _REFUSALS, hurried=deadline.passed)
            except (paramiko.SSHException, OSError, EOFError) as error:
                # A jump host that has just let us in is well: what does not answer is what lies behind it.
                beyond = tunnel and fresh and link.alive
                self._give_back(link, None, retire=not beyond)
                if beyond:
                    raise _NoTunnel("no answer in time") from error
                if fresh or deadline.passed:
                    raise _no_session(host, error) from error
                fresh = True

    def _make_room(self, link: Link, error: paramiko.ChannelException, *, patient: bool, hurried: bool) -> None:
        """The host refused one more session (sshd's MaxSessions): wait for the others to end.

        Without others, a session that just ended may still count on the host's side, for a moment.
        """
        if self._yield_probe(link):
            time.sleep(_REFUSAL_PAUSE_S)
            self._give_back(link, None, retire=False)
            return
        with self._changed:
            others = link.channels - 1
            link.limit = max(others, 1)
        self._give_back(link, None, retire=False)
        if hurried or not (others or patient):
            raise _no_session(link.host, error) from error
        if not others:
            time.sleep(_REFUSAL_PAUSE_S)

    def _yield_probe(self, link: Link) -> bool:
        """Give the session of an idle probe channel to a command, and keep it so for a while."""
        if link.probe is None or not link.probe_turn.acquire(blocking=False):
            return False
        try:
            self.bar_probes(link.host, NO_ROOM_S)
            self.end_probe(link, retire=False)
        finally:
            link.probe_turn.release()
        return True

    def _lease(self, host: Host, deadline: Deadline, *, insist: bool, tunnel: bool = False) -> tuple[Link, bool]:
        """Reserve a channel on the host's link, and say whether the link is new (or `insist`ed to be replaced).

        A `tunnel` is no session: sshd's MaxSessions and our limit do not count it.
        """
        with self._changed:
            link = self._wait_for_turn(host, deadline, tunnel)
            slot = self._slots.of(host)
            if link:
                link.channels += 1
                link.served += 1
                return link, insist
            slot.connecting = True
        return self._connect_slot(host, slot, deadline), True

    def _wait_for_turn(self, host: Host, deadline: Deadline, tunnel: bool) -> Link | None:
        """Return a link with room, or None if the caller is to connect. The lock is held."""
        while True:
            if self._closed:
                raise HostUnreachable(f"opsbot is stopping; nothing was run on {host.name}.")
            slot = self._slots.of(host)
            link = slot.link if slot.link and slot.link.alive and not slot.link.retired else None
            if link and (tunnel or link.channels < link.limit):
                return link
            if not link:
                refusal = slot.history.refusal(self._monotonic(), under_way=slot.connecting)
                if refusal:
                    raise HostUnreachable(refusal)
                if not slot.connecting:
                    return None
            if deadline.passed:
                raise (HostBusy if link else HostUnreachable)(_busy(host, link, deadline))
            self._changed.wait(deadline.left_s)

    def _connect_slot(self, host: Host, slot: Slot, deadline: Deadline) -> Link:
        started_at = time.monotonic()
        link: Link | None = None
        failure = ""
        try:
            link = self._connect(host, deadline)
            return link
        except HostUnreachable as error:
            # A jump host that cannot be reached is no fault of the host behind it.
            failure = "" if isinstance(error.__cause__, HostUnreachable) else str(error)
            raise
        finally:
            now = time.monotonic()
            with self._changed:
                slot.connecting = False
                old, slot.link = slot.link, link
                if link:
                    link.channels, link.served, link.limit = 1, 1, self._limits.channels_per_host
                    slot.history.seen(self._monotonic(), datetime.now(UTC))
                elif failure and (not deadline.passed or now - started_at >= _FAIR_CHANCE_S):
                    slot.history.failed(self._monotonic(), failure)
                self._changed.notify_all()
            if old:
                self._retire(old)

    def _connect(self, host: Host, deadline: Deadline) -> Link:
        pins, key = pins_of(host), self._keys.load(host.login_key_file)
        link = self._dial(host, deadline)
        try:
            with self.watch(link, deadline):
                check_host_key(link, pins, deadline)
                link.authenticate(key, deadline)
        except BaseException:
            self._close(link)
            raise
        return link

    def _dial(self, host: Host, deadline: Deadline) -> Link:
        """Connect by TCP, or through the jump host's link, which stays open for as long as this one."""
        if not host.jump:
            return dial(host, deadline)
        jump = jump_of(host, self._find)
        try:
            via, channel = self._open(jump, deadline, lambda link, within: _tunnel(link, host, within), tunnel=True)
        except _NoTunnel as error:
            raise HostUnreachable(
                f"{place_of(host)} cannot be connected to: {jump.name} reports: {error}. Nothing was run.",
                failed_at=Stage.CONNECT,
            ) from error
        except HostUnreachable as error:
            raise HostUnreachable(f"{host.name} is reached through {jump.name}, but: {error}") from error
        with self._changed:
            via.channels -= 1
            via.tunnels += 1
            self._changed.notify_all()
        return Link(host, Tunnel(channel), via)

    def _close(self, link: Link) -> None:
        """Close a link, and let go of the one it runs through."""
        link.close()
        with self._changed:
            via, link.via = link.via, None
            if via is None:
                return
            via.tunnels -= 1
            via.idle_since = time.monotonic()
            doomed = via.retired and via.unused
            self._housework.notify()
        if doomed:
            self._close(via)

    def _give_back(self, link: Link, channel: paramiko.Channel | None, *, retire: bool) -> None:
        """Release a reserved channel; `channel` is closed politely, None is not worth the attempt."""
        if channel:
            with suppress(paramiko.SSHException, OSError, EOFError):
                channel.close()
        with self._changed:
            link.channels -= 1
            link.idle_since = time.monotonic()
            link.retired = link.retired or retire or link.served >= self._limits.commands_per_connection
            doomed = [link] if link.retired and link.unused else []
            doomed += self._slots.surplus()
            self._slots.forget(doomed)
            self._changed.notify_all()
        for each in doomed:
            self._close(each)

    def _retire(self, link: Link) -> None:
        with self._changed:
            link.retired = True
            unused = link.unused
        if unused:
            self._close(link)

    def saw(self, host: Host) -> None:
        """Note that the host answered."""
        with self._lock:
            self._slots.of(host).history.seen(self._monotonic(), datetime.now(UTC))

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
                stuck, expired = self._overdue(), self._slots.expired(time.monotonic())
                self._slots.forget(stuck + expired)
            for link in stuck:
                # A write through a jump host hangs in that one's connection: closing the inner one does not end it.
                if link.via and not link.via.roomy:
                    self._close(link.via)
                self._close(link)
            for link in expired:
                self._close(link)

    def _next_look_s(self) -> float | None:
        if self._watched:
            return _WATCH_INTERVAL_S
        idle = [link.idle_since for link in self._slots.links() if link.unused]
        return max(0.0, min(idle) + self._limits.idle_s - time.monotonic()) + 0.01 if idle else None

    def _overdue(self) -> list[Link]:
        now = time.monotonic()
        return list({link for overdue_at, link in self._watched.values() if now > overdue_at})


def _tunnel(link: Link, host: Host, deadline: Deadline) -> paramiko.Channel:
    try:
        return link.open_tunnel(host, deadline)
    except paramiko.ChannelException as error:
        # One of the library's own texts, not the host's.
        raise _NoTunnel(error.text.lower()) from error


def _share(deadline: Deadline) -> Deadline:
    return Deadline(min(deadline.left_s * _POOLED_SHARE, _POOLED_MAX_S))


def _no_session(host: Host, error: BaseException) -> HostUnreachable:
    said = f"{place_of(host)} accepted the log-in but opened no session: {cause_of(error)}. Nothing was run."
    return HostUnreachable(said, failed_at=Stage.SESSION)


def _busy(host: Host, link: Link | None, deadline: Deadline) -> str:
    why = f"still runs {link.channels} other commands of opsbot's" if link else "is still being connected to"
    return f"{place_of(host)} {why} after {deadline.timeout_s:.1f} s. Nothing was run."
