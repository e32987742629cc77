"""Small composable checks over JSON; each fault is reported with the JSON pointer of its place."""

from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str, "Report"], None]


class Report:
    """Collects faults in the words of Slack's `response_metadata.messages`."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def add(self, pointer: str, text: str) -> None:
        """Note one fault."""
        self.faults.append(f"[ERROR] {text} [json-pointer:{pointer or '/'}]")


def string(most: int, least: int = 1) -> Check:
    """A string of `least` to `most` characters."""

    def check(value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, str):
            report.add(pointer, "must be a string")
        elif len(value) < least:
            report.add(pointer, f"must be more than {least - 1} characters")
        elif len(value) > most:
            report.add(pointer, f"must be less than {most + 1} characters")

    return check


def number(low: float, high: float, *, whole: bool = True) -> Check:
    """A number within a range, both ends included."""

    def check(value: Any, pointer: str, report: Report) -> None:
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            report.add(pointer, "must be an integer" if whole else "must be a number")
        elif not low <= value <= high:
            report.add(pointer, f"must be between {low} and {high}")

    return check


def boolean(value: Any, pointer: str, report: Report) -> None:
    """True or false."""
    if not isinstance(value, bool):
        report.add(pointer, "must be a boolean")


def anything(value: Any, pointer: str, report: Report) -> None:
    """No demand on the value."""


def one_of(*values: str) -> Check:
    """One of the given words."""

    def check(value: Any, pointer: str, report: Report) -> None:
        if value not in values:
            report.add(pointer, f"must be one of: {', '.join(values)}")

    return check


def listing(item: Check, most: int, least: int = 1) -> Check:
    """A list of `least` to `most` items, each passing `item`."""

    def check(value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, list):
            report.add(pointer, "must be an array")
            return
        if len(value) < least:
            report.add(pointer, f"no fewer than {least} items allowed")
        if len(value) > most:
            report.add(pointer, f"no more than {most} items allowed")
        for index, entry in enumerate(value):
            item(entry, f"{pointer}/{index}", report)

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with these keys and no others."""
    known = {**required, **(optional or {})}

    def check(value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, dict):
            report.add(pointer, "must be an object")
            return
        for key in required:
            if value.get(key) is None:
                report.add(pointer, f"missing required field: {key}")
        for key, entry in value.items():
            if key not in known:
                report.add(f"{pointer}/{key}", f"unknown field: {key}")
            elif entry is not None:
                known[key](entry, f"{pointer}/{key}", report)

    return check


def by_type(table: Mapping[str, Check]) -> Check:
    """An object whose `type` chooses the check; any other type is a fault."""

    def check(value: Any, pointer: str, report: Report) -> None:
        if not isinstance(value, dict):
            report.add(pointer, "must be an object")
            return
        chosen = table.get(str(value.get("type")))
        if chosen is None:
            report.add(pointer, f"unsupported type: {value.get('type')}")
            return
        chosen({key: entry for key, entry in value.items() if key != "type"}, pointer, report)

    return check


def needs_any(inner: Check, *keys: str) -> Check:
    """`inner`, and at least one of the keys present."""

    def check(value: Any, pointer: str, report: Report) -> None:
        inner(value, pointer, report)
        if isinstance(value, dict) and not any(value.get(key) for key in keys):
            report.add(pointer, f"missing required field: one of {', '.join(keys)}")

    return check


def exactly_one(inner: Check, *keys: str) -> Check:
    """`inner`, and exactly one of the keys present."""

    def check(value: Any, pointer: str, report: Report) -> None:
        inner(value, pointer, report)
        if isinstance(value, dict) and sum(value.get(key) is not None for key in keys) != 1:
            report.add(pointer, f"exactly one of {', '.join(keys)} must be given")

    return check
