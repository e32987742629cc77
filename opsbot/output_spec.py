"""How the model is told of `read_output`: in few words, and only where there is something to read."""

from opsbot.outputs import LINES_MAX
from opsbot.ports import ToolSpec

# A call of this name is answered by the turn loop itself; no tool file may take it.
READ_OUTPUT = "read_output"

READ_OUTPUT_SPEC = ToolSpec(
    READ_OUTPUT,
    "Read lines of an earlier output that was shortened here; `ref` stands in it. Search before paging.",
    {
        "type": "object",
        "properties": {
            "ref": {"type": "string"},
            "grep": {"type": "string", "description": "Only lines with this text, case ignored; a|b: either."},
            "line": {"type": "integer", "description": "First line; -50: the last 50."},
            "lines": {"type": "integer", "description": f"How many, up to {LINES_MAX}."},
        },
        "required": ["ref"],
        "additionalProperties": False,
    },
)
