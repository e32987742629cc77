"""Slack's Web API as the workbench answers it."""
