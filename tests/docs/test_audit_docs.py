"""Every kind of audit record is explained where an auditor looks, and told in words in a timeline."""

import ast
import re
from pathlib import Path

from opsbot.timeline import KINDS

ROOT = Path(__file__).resolve().parents[2]
_KIND = re.compile(
    r"(approval|call|conversation|decision|event|execution|inventory|person|report|request)\.[a-z_]+|opsbot\.started"
)


def kinds() -> set[str]:
    """Return every kind of record the code makes: names of that shape that are not only names of log events."""
    found = set()
    for path in sorted((ROOT / "opsbot").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        logged = {id(argument) for node in ast.walk(tree) if _logs(node) for argument in node.args[:1]}
        if path.name != "timeline.py":
            found |= {
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and id(node) not in logged and _KIND.fullmatch(str(node.value))
            }
    return found


def _logs(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and re.match(r"_?log\.", ast.unparse(node.func)) is not None


def test_every_kind_of_record_is_in_the_table() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = text[text.index("| record | says |") :].split("\n\n")[0]
    documented = set(re.findall(r"`([a-z]+\.[a-z_]+)`", table))
    assert documented == kinds()


def test_every_kind_of_record_is_told_in_words() -> None:
    assert kinds() == KINDS
