"""Faults on demand: each injected one is used up by the place that asks for its kind."""

from dataclasses import dataclass, field

from opsbot.workbench.wire import ControlError, Json

KINDS = frozenset(
    {
        # Web API: refuse or delay the next `count` calls of `method` ("*" or nothing: of any method)
        "ratelimited",
        "server_error",
        "slow",
        "error",
        "revoked_token",
        "channel_rate",
        "tiers",
        # deliveries to the app
        "dropped_ack",
        "duplicate",
        "out_of_order",
        "disconnect_on_delivery",
        "mention_without_files",
        # interactions
        "expired_trigger",
        "response_url_error",
        # files
        "upload_error",
        "download_error",
    }
)


@dataclass(slots=True)
class Fault:
    """One fault; `count` None means until cleared."""

    kind: str
    method: str = "*"
    count: int | None = 1
    options: Json = field(default_factory=dict)


class Faults:
    """The faults waiting to happen."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def inject(self, fault: Fault) -> None:
        """Add a fault. Raises ControlError when its kind is unknown or its count is not positive."""
        if fault.kind not in KINDS:
            raise ControlError(f"unknown fault {fault.kind!r}; known: {', '.join(sorted(KINDS))}")
        if fault.count is not None and fault.count < 1:
            raise ControlError(f"count must be at least 1, not {fault.count}")
        self._waiting.append(fault)

    def clear(self) -> None:
        """Forget every fault."""
        self._waiting.clear()

    def waiting(self) -> list[Json]:
        """Return the faults still to happen."""
        return [{"kind": f.kind, "method": f.method, "count": f.count, **f.options} for f in self._waiting]

    def peek(self, kind: str, method: str = "") -> Fault | None:
        """Return the first waiting fault of a kind, without using it up."""
        matching = (f for f in self._waiting if f.kind == kind and f.method in ("*", "", method))
        return next(matching, None)

    def take(self, kind: str, method: str = "") -> Fault | None:
        """Use up and return the first waiting fault of a kind, or None."""
        fault = self.peek(kind, method)
        if fault is not None and fault.count is not None:
            fault.count -= 1
            if fault.count == 0:
                self._waiting.remove(fault)
        return fault
