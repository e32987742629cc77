"""The tools that ship with opsbot: one file = one tool, or a few that belong together."""
