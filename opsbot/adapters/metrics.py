"""Metrics for Prometheus: counted from the log's own events, read over HTTP."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from structlog.typing import EventDict, WrappedLogger

from opsbot.errors import ConfigError, StoreError

# A first token within a second is quick, a model call has 120 s in all (llm.md, "Deadlines").
_MODEL_S = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)
# A warm host answers in tens of milliseconds, a tool has 30 s at most but for actions.
_TOOL_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
_TURN_S = (1, 2, 5, 10, 20, 30, 60, 120, 300)
# Events are named in the code; whatever else comes as one is counted together.
_EVENTS_MAX = 300
# Prometheus waits 10 s by default.
_STORE_PATIENCE_S = 2.0

# How many requests are in each state: what waits for people, what is under way.
Waiting = Callable[[], Coroutine[Any, Any, Mapping[str, int]]]


class Metrics:
    """Implements a structlog processor: lets every event through as it is, and counts it, whatever level is logged."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._info = Info("opsbot", "What runs here.", registry=self.registry)
        self._events = self._counter("log_events", "Events of the log.", "event", "level")
        self._calls = self._counter("model_calls", "Model calls, by how they ended.", "result")
        self._retries = self._counter("model_retries", "Model calls tried again.")
        self._first = self._histogram("model_first_token_seconds", "Until a model's first token.", _MODEL_S)
        self._model_s = self._histogram("model_call_seconds", "How long a model call took.", _MODEL_S)
        self._tokens = self._counter("model_tokens", "Tokens; `cached` are part of `input`.", "kind")
        self._cost = self._counter("model_cost_dollars", "What calls of known price cost.")
        self._tool_s = self._histogram("tool_seconds", "How long a look took.", _TOOL_S, "tool")
        self._tool_hosts = self._counter("tool_hosts", "Hosts looked at.", "tool", "result")
        self._turns = self._counter("turns", "Answers to people, by how they ended.", "outcome")
        self._turn_s = self._histogram("turn_seconds", "How long an answer took.", _TURN_S)
        self._approvals = self._counter("approvals", "What became of requests.", "event")
        self._executions = self._counter("executions", "Actions that ended, by state.", "state")
        self._seen: set[str] = set()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"opsbot_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"opsbot_{name}", text, labels, buckets=buckets, registry=self.registry)

    def tell(self, **facts: str) -> None:
        """Say what runs here, as version and model."""
        self._info.info(facts)

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        name = str(event.get("event", ""))
        if name not in self._seen and len(self._seen) < _EVENTS_MAX:
            self._seen.add(name)
        self._events.labels(name if name in self._seen else "other", method).inc()
        self._count(name, event)
        return event

    def _count(self, name: str, facts: Mapping[str, Any]) -> None:
        kind = name.partition(".")[2]
        match name:
            case "tool.finished":
                tool = str(facts.get("tool"))
                self._tool_s.labels(tool).observe(_number(facts, "duration_s"))
                for result in ("answered", "failed"):
                    self._tool_hosts.labels(tool, result).inc(_number(facts, result))
            case "turn.finished":
                self._turns.labels(str(facts.get("outcome"))).inc()
                self._turn_s.observe(_number(facts, "duration_s"))
            case "execution.finished" | "execution.reconciled":
                self._executions.labels(str(facts.get("state"))).inc()
            case _ if name.startswith("approval."):
                self._approvals.labels(kind).inc()
            case _ if name.startswith("model."):
                self._count_model(kind, facts)

    def _count_model(self, kind: str, facts: Mapping[str, Any]) -> None:
        match kind:
            case "answered" | "failed":
                self._calls.labels(kind).inc()
                self._model_s.observe(_number(facts, "duration_s"))
                if kind == "answered":
                    self._first.observe(_number(facts, "first_token_s"))
            case "retry":
                self._retries.inc()
            case "used":
                for part in ("input", "cached", "output"):
                    self._tokens.labels(part).inc(_number(facts, f"{part}_tokens"))
                self._cost.inc(_number(facts, "cost_usd"))


@contextmanager
def exposed(metrics: Metrics, listen: str, waiting: Waiting) -> Iterator[None]:
    """Answer scrapes at `listen` (host:port) in a thread of its own, until the block ends.

    Raises:
        ConfigError: nothing can listen there.
    """
    host, _, port = listen.rpartition(":")
    metrics.registry.register(_Requests(waiting, asyncio.get_running_loop()))
    try:
        server, thread = start_http_server(int(port), host.strip("[]"), metrics.registry)
    except OSError as error:
        raise ConfigError(f"metrics.listen: cannot listen at {listen}: {error.strerror}; choose another.") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(1)


class _Requests(Collector):
    """Requests by state, asked of the store at each scrape; left out while it does not answer."""

    def __init__(self, waiting: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting = waiting
        self._loop = loop

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("opsbot_requests", "Requests that are not over, by state.", labels=["state"])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        asked = asyncio.run_coroutine_threadsafe(self._waiting(), self._loop)
        try:
            counted = asked.result(_STORE_PATIENCE_S)
        except (StoreError, TimeoutError, CancelledError):
            asked.cancel()
            return
        (family,) = self.describe()
        for state, number in counted.items():
            family.add_metric([state], number)
        yield family


def _number(facts: Mapping[str, Any], name: str) -> float:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) and value >= 0 else 0.0
