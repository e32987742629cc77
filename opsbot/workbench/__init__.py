"""The workbench: a local stand-in for Slack with a browser page. Imports nothing of opsbot."""
