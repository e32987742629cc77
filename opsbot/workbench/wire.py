"""The two words every part of the workbench shares: wire JSON and a Slack error code."""

from typing import Any

# Slack's payloads are open JSON objects; giving each its own type would copy Slack's whole schema.
Json = dict[str, Any]


class SlackError(Exception):
    """An answer `{"ok": false, "error": code, ...}` to a Web API call.

    `details` are further keys of the answer, for example `needed` or `response_metadata`.
    """

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.code = code
        self.details: Json = details


class ControlError(Exception):
    """A control call the workbench cannot carry out; the text says why."""
