"""What an agent shows beside its messages: status lines, session states and suggested prompts."""

from dataclasses import dataclass

from opsbot.workbench.clock import Clock, Timer
from opsbot.workbench.feed import Feed
from opsbot.workbench.limits import Limits
from opsbot.workbench.wire import Json

Thread = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Session:
    """The state of an agent's work in one thread: active, processing, suspended or closed."""

    status: str
    title: str = ""


class Agent:
    """Statuses and sessions by (channel, thread_ts). Both expire on the virtual clock."""

    def __init__(self, clock: Clock, feed: Feed, limits: Limits) -> None:
        self._clock, self._feed, self._limits = clock, feed, limits
        self._timers: dict[tuple[str, Thread], Timer] = {}
        self.statuses: dict[Thread, Json] = {}
        self.sessions: dict[Thread, Session] = {}
        self.prompts: dict[str, Json] = {}

    def set_status(self, thread: Thread, status: str, loading_messages: list[str]) -> None:
        """Show a status line until it is cleared, replied to, or two minutes old; "" clears it."""
        self._restart_timer("status", thread, self._limits.status_life_s if status else None)
        if status:
            self.statuses[thread] = {"status": status, "loading_messages": loading_messages}
        elif self.statuses.pop(thread, None) is None:
            return
        shown = self.statuses.get(thread, {"status": "", "loading_messages": []})
        self._feed.publish("status", channel=thread[0], thread_ts=thread[1], **shown)

    def set_session(self, thread: Thread, session: Session) -> None:
        """Record the state of the work in a thread; `processing` falls back to active after an hour."""
        self._restart_timer("session", thread, self._limits.session_life_s if session.status == "processing" else None)
        self.sessions[thread] = session
        self._feed.publish(
            "session", channel=thread[0], thread_ts=thread[1], status=session.status, title=session.title
        )

    def set_prompts(self, channel: str, thread_ts: str, title: str, prompts: list[Json]) -> None:
        """Offer prompts to press in a direct message."""
        self.prompts[channel] = {"channel": channel, "thread_ts": thread_ts, "title": title, "prompts": prompts}
        self._feed.publish("prompts", **self.prompts[channel])

    def clear(self) -> None:
        """Forget everything."""
        for timer in self._timers.values():
            timer.cancel()
        for kept in (self._timers, self.statuses, self.sessions, self.prompts):
            kept.clear()

    def _restart_timer(self, kind: str, thread: Thread, life_s: float | None) -> None:
        timer = self._timers.pop((kind, thread), None)
        if timer is not None:
            timer.cancel()
        if life_s is not None:
            self._timers[kind, thread] = self._clock.call_later(life_s, lambda: self._expire(kind, thread))

    def _expire(self, kind: str, thread: Thread) -> None:
        if kind == "status":
            self.set_status(thread, "", [])
        else:
            self.set_session(thread, Session("active", self.sessions[thread].title))
