"""Notice when code that was just loaded changed opsbot itself: a tripwire for accidents and plain tricks, no wall."""

import builtins
import hashlib
import hmac
import json
import secrets
import shlex
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

# What decisions, digests and command lines rest on, besides our own modules.
_BESIDE: tuple[ModuleType, ...] = (builtins, hashlib, hmac, json, secrets, shlex)
_OURS = "opsbot"
_GONE = object()
# Python's own notes: warnings shown already, and an interactive session's last answer.
_PYTHONS = frozenset({"__warningregistry__", "_"})


class Tripwire:
    """What opsbot's modules, classes and functions are when it is set.

    Code that runs in this process can go around it in many ways: it is trusted code, and this shows only that it does
    what tool files have no business to do. Contents of containers are not compared.
    """

    def __init__(self) -> None:
        self._before = dict(_parts())

    def changes(self) -> tuple[str, ...]:
        """Return the names of what was replaced, taken away or added since."""
        now = dict(_parts())
        replaced = [name for name, value in self._before.items() if now.get(name, _GONE) is not value]
        added = [name for name, value in now.items() if name not in self._before and self._is_strange(name, value)]
        return tuple(dict.fromkeys((*replaced, *added)))

    def _is_strange(self, name: str, value: object) -> bool:
        """Whether a new part was put into something that was there before, other than by an import."""
        if isinstance(value, ModuleType):
            return False
        above = name.rpartition(".")[0]
        # `opsbot` itself gets its exports on first use (ADR 0003).
        return above != _OURS and above in self._before


def _parts() -> Iterator[tuple[str, object]]:
    """Yield everything that is watched, by its full name."""
    for name, module in list(sys.modules.items()):
        if (name == _OURS or name.startswith(f"{_OURS}.")) and module is not None:
            yield f"sys.modules[{name!r}]", module
            for key, value in _named(module):
                yield f"{name}.{key}", value
                yield from _inside(f"{name}.{key}", value, name)
    for module in _BESIDE:
        for key, value in _named(module):
            yield f"{module.__name__}.{key}", value


def _named(module: ModuleType) -> list[tuple[str, object]]:
    return [(key, value) for key, value in list(vars(module).items()) if key not in _PYTHONS]


def _inside(name: str, value: object, module: str) -> Iterator[tuple[str, object]]:
    """Yield what makes up a function, or a class and its functions, if this module defined it."""
    if getattr(value, "__module__", None) != module:
        return
    if isinstance(value, FunctionType):
        yield f"{name}.__code__", value.__code__
        yield f"{name}.__defaults__", value.__defaults__
        yield f"{name}.__kwdefaults__", value.__kwdefaults__
    elif isinstance(value, type):
        for key, part in list(vars(value).items()):
            if callable(part) or isinstance(part, property | staticmethod | classmethod):
                yield f"{name}.{key}", part
                yield from _inside(f"{name}.{key}", part, module)
