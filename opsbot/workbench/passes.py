"""Single-use and counted passes Slack hands out with interactions: trigger ids and response URLs."""

from dataclasses import dataclass

from opsbot.workbench.clock import Clock
from opsbot.workbench.faults import Faults
from opsbot.workbench.ids import Ids
from opsbot.workbench.limits import Limits
from opsbot.workbench.wire import SlackError


@dataclass(slots=True)
class _Trigger:
    user: str
    issued_at: float
    is_used: bool = False


class Triggers:
    """Trigger ids: good once, for three seconds."""

    def __init__(self, clock: Clock, ids: Ids, limits: Limits, faults: Faults) -> None:
        self._clock, self._ids, self._limits, self._faults = clock, ids, limits, faults
        self._issued: dict[str, _Trigger] = {}

    def issue(self, user: str) -> str:
        """Return a new trigger id for an interaction of `user`."""
        trigger_id = f"{self._ids.next('')}.{self._ids.next('')}.workbench"
        self._issued[trigger_id] = _Trigger(user, self._clock.now())
        return trigger_id

    def redeem(self, trigger_id: str) -> str:
        """Use a trigger id up and return its user. Raises SlackError when it cannot be used (any more)."""
        trigger = self._issued.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.is_used:
            raise SlackError("exchanged_trigger_id")
        if self._faults.take("expired_trigger") or self._is_old(trigger):
            raise SlackError("expired_trigger_id")
        trigger.is_used = True
        return trigger.user

    def _is_old(self, trigger: _Trigger) -> bool:
        return self._clock.now() - trigger.issued_at > self._limits.trigger_life_s


@dataclass(slots=True)
class ResponseUrl:
    """Where an app may answer an interaction: the channel, the person, and the message it came from."""

    id: str
    channel: str
    user: str
    issued_at: float
    message_ts: str = ""
    thread_ts: str = ""
    uses: int = 0


class ResponseUrls:
    """Response URLs: five uses within half an hour."""

    def __init__(self, clock: Clock, ids: Ids, limits: Limits) -> None:
        self._clock, self._ids, self._limits = clock, ids, limits
        self._issued: dict[str, ResponseUrl] = {}

    def issue(self, *, channel: str, user: str, message_ts: str = "", thread_ts: str = "") -> ResponseUrl:
        """Return a new response URL for an interaction of `user` in `channel`."""
        url = ResponseUrl(self._ids.next("R"), channel, user, self._clock.now(), message_ts, thread_ts)
        self._issued[url.id] = url
        return url

    def use(self, url_id: str) -> ResponseUrl:
        """Count one use. Raises SlackError `used_url` or `expired_url` when there is none left."""
        url = self._issued.get(url_id)
        if url is None or self._clock.now() - url.issued_at > self._limits.response_url_life_s:
            raise SlackError("expired_url")
        if url.uses >= self._limits.response_url_uses:
            raise SlackError("used_url")
        url.uses += 1
        return url
