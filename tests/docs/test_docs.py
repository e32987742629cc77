"""The documentation says what there is: every setting, command, tool and error, and its examples run."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from opsbot import command_forms, errors
from opsbot.cli_parser import build_parser
from opsbot.config import parse
from opsbot.config_model import HostDefaults, HostEntry, Settings
from opsbot.discovery import SHIPPED_TOOLS, load_tools

ROOT = Path(__file__).resolve().parents[2]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
TEXTS = DOCS | {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}


def settings(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return every setting as the documentation writes it: `slack.http.port`, `policy.approvers[].users`."""
    found = []
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        path = f"{prefix}{name}"
        if inner is None or inner.__name__ == "SecretRef":
            found.append(path)
        elif issubclass(inner, HostDefaults):
            found += settings(HostEntry, "hosts.*.") if inner is HostEntry else []
        else:
            joint = {"tuple": "[].", "dict": ".*."}.get(getattr(field.annotation, "__name__", ""), ".")
            found += settings(inner, path + joint)
    return found


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


@pytest.mark.parametrize("setting", settings(Settings))
def test_every_setting_is_documented(setting: str) -> None:
    assert f"`{setting}`" in DOCS["configuration.md"] or f"`{setting}.NAME" in DOCS["configuration.md"]


def test_every_setting_stands_in_the_example() -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    missing = [path for path in settings(Settings) if not re.search(rf"\b{re.split(r'[.]', path)[-1]}:", text)]
    assert missing == []


def test_settings_of_the_documentation_exist() -> None:
    documented = set(re.findall(r"^\| `([a-z_.*\[\]]+)`", DOCS["configuration.md"], re.MULTILINE))
    containers = {"policy.approvers", "policy.rules", "hosts.*.health"}
    assert documented - set(settings(Settings)) - containers == set()


@pytest.mark.parametrize(
    "error",
    [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.OpsbotError)],
)
def test_every_error_has_a_heading(error: str) -> None:
    grouping = {"OpsbotError", "ToolError", "ApprovalError", "ModelError"}
    assert error in grouping or f"\n### {error}\n" in DOCS["errors.md"]


@pytest.mark.parametrize("usage", command_forms.USAGES, ids=lambda usage: usage.words)
def test_every_chat_command_has_a_row(usage: command_forms.Usage) -> None:
    words = usage.words.replace("|", "\\|")
    assert f"| `{words}` |" in DOCS["commands.md"]


def test_every_shell_command_has_a_heading() -> None:
    parser = build_parser()
    (subcommands,) = (action for action in parser._actions if hasattr(action, "choices") and action.choices)
    names = set(subcommands.choices or ())
    headings = re.findall(r"^### opsbot ([a-z]+)( [a-z]+)?", DOCS["commands.md"], re.MULTILINE)
    documented = {one + two if one + two in names else one for one, two in headings}
    assert documented == names


def test_every_shipped_tool_has_a_row() -> None:
    documented = set(re.findall(r"^\| `([a-z_]+)` \| (?:read|change|danger) \|", DOCS["tools.md"], re.MULTILINE))
    assert documented == set(load_tools([SHIPPED_TOOLS]).names)


def test_tool_of_the_documentation_loads(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS["tools.md"], re.DOTALL)
    (tmp_path / "disk_usage.py").write_text(code, encoding="utf-8")
    (tmp_path / "disk_usage.py").chmod(0o644)
    assert load_tools([tmp_path]).names == ("disk_usage",)
    statements = [line for line in code.splitlines() if line.strip() and not line.startswith('"""')]
    assert len(statements) <= 15


def test_readme_commands_exist() -> None:
    readme = TEXTS["README.md"]
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)$", readme, re.MULTILINE)) == {"demo", "test"}
    assert set(re.findall(r"`make ([a-z0-9-]+)", "\n".join(TEXTS.values()))) <= targets
    parser = build_parser()
    for line in re.findall(r"^ *opsbot ([^\n#]+)$", readme, re.MULTILINE):
        assert parser.parse_args(line.split()).command


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_links_lead_somewhere(name: str) -> None:
    folder = ROOT / "docs" if name in DOCS else ROOT
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)\)", TEXTS[name]) if "://" not in target]
    assert [target for target in targets if not (folder / target).exists()] == []


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_nothing_is_promised_that_cannot_be_kept(name: str) -> None:
    lowered = TEXTS[name].lower()
    for claim in ("prompt-injection proof", "tamper-proof", "tamperproof", "all secrets redacted", "unbreakable"):
        assert claim not in lowered


def test_reference_examples_in_the_documentation_are_valid() -> None:
    """What slack-setup.md tells to write loads."""
    text = """
slack: {bot_token: {credential: slack-bot-token}, app_token: {credential: slack-app-token}}
store: {url: "sqlite:////var/lib/opsbot/opsbot.db"}
policy: {askers: {users: ["*"]}}
"""
    for shown in ("{credential: slack-bot-token}", "{credential: slack-app-token}", text.strip().splitlines()[1]):
        assert shown in DOCS["slack-setup.md"].replace("`store: {", "store: {")
    assert str(parse(text, environ={}).database_file()) == "/var/lib/opsbot/opsbot.db"


def test_decisions_are_short() -> None:
    for path in sorted((ROOT / "docs/adr").glob("*.md")):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith(f"# {path.name[:4]} ")
        assert len(lines) <= 20


def test_exports_have_types() -> None:
    """`opsbot/__init__.py` loads on first use what `__init__.pyi` declares."""
    tree = ast.parse((ROOT / "opsbot/__init__.pyi").read_text(encoding="utf-8"))
    declared = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    import opsbot

    assert set(opsbot.__all__) == declared


def test_ci_script_is_valid_and_executable() -> None:
    bash = shutil.which("bash")
    assert bash is not None
    assert subprocess.run([bash, "-n", str(ROOT / ".ci/run")], check=False).returncode == 0
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
