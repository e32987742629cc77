"""Text of other machines, made harmless; see `opsbot.readable`."""

from opsbot.readable import plain_line

__all__ = ["plain_line"]
