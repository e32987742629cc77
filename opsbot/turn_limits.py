"""What one turn may use, and what it has used."""

from dataclasses import dataclass, field

from opsbot.errors import BudgetSpent


@dataclass(frozen=True, slots=True)
class Limits:
    """What one turn may use: model calls, tool calls, tokens (in and out together), seconds."""

    rounds: int = 8
    calls: int = 20
    tokens: int = 60_000
    turn_s: float = 300.0
    max_output_tokens: int = 2000


@dataclass(slots=True)
class Spent:
    """What a turn has used so far."""

    limits: Limits
    began: float
    rounds: int = 0
    calls: int = 0
    tokens: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    refused_as_too_long: bool = False

    def check(self, now: float) -> None:
        """Raise BudgetSpent when a limit is reached, naming it."""
        seconds = now - self.began
        for name, used, limit in (
            ("model calls", self.rounds, self.limits.rounds),
            ("tool calls", self.calls, self.limits.calls),
            ("tokens", self.tokens, self.limits.tokens),
            ("seconds", seconds, self.limits.turn_s),
        ):
            if used >= limit:
                said = f"the limit of {limit:g} {name} for one turn is reached."
                raise BudgetSpent(said, next_step="Say “go on” and I continue from here.")
