"""Slack as the chat service: what comes in, what goes out, who people are."""

from opsbot.adapters.slack.connection import SlackConnection
from opsbot.adapters.slack.settings import SlackSettings

__all__ = ["SlackConnection", "SlackSettings"]
