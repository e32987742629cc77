"""Rules of loading tool files: all of them or none, and only code that nobody else could have written."""

import os
from pathlib import Path

import pytest

from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.domain import Risk
from opsbot.errors import BadArguments, ToolDefinitionError

GOOD = '''"""A tool of fifteen lines."""

from opsbot import Context, Host, tool


@tool(risk="read", timeout_s=15)
def {name}(ctx: Context, host: Host, mount: str = "/") -> dict[str, str]:
    """Report the size of a file system.

    Args:
        mount: Mount point, absolute.
    """
    return {{"size": ctx.run(host, "df", "--", mount).check().stdout}}
'''
WRITER = '''"""A tool that writes."""

from opsbot import Context, Host, HostOutcome, Impact, Result, tool


def impact(ctx: Context, host: Host) -> Impact:
    return Impact(facts=())


def verify(ctx: Context, host: Host, before: Impact) -> HostOutcome:
    return HostOutcome(host.name, Result.DONE, "done")


@tool(risk="change", impact=impact, verify=verify)
def touch(ctx: Context, host: Host) -> None:
    """Touch it."""
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir(mode=0o755)
    return folder


def put(folder: Path, name: str, text: str, mode: int = 0o644) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def faults(*folders: Path | str, **options: object) -> str:
    with pytest.raises(ToolDefinitionError) as caught:
        load_tools(folders, **options)  # type: ignore[arg-type]
    return "\n".join(caught.value.faults)


def test_dropped_file_becomes_a_tool(folder: Path) -> None:
    put(folder, "disk.py", GOOD.format(name="disk_usage"))
    put(folder, "README.md", "not a tool")
    put(folder, "_shared.py", "X = 1")
    registry = load_tools([folder])
    assert registry.names == ("disk_usage",)
    assert registry.get("disk_usage").source_file == str(folder / "disk.py")
    assert len(registry.get("disk_usage").sha256) == 64
    assert [spec.name for spec in registry.specs()] == ["disk_usage"]


def test_tools_are_sorted_whatever_the_order_of_files(folder: Path) -> None:
    put(folder, "a.py", GOOD.format(name="zeta"))
    put(folder, "z.py", GOOD.format(name="alpha"))
    assert load_tools([folder]).names == ("alpha", "zeta")


def test_every_fault_of_every_file_is_listed_and_nothing_loaded(folder: Path) -> None:
    put(folder, "fine.py", GOOD.format(name="fine"))
    put(folder, "syntax.py", "def broken(:\n    pass\n")
    put(folder, "missing.py", "import os\nimport no_such_module_of_ours\n")
    put(folder, "nothing.py", "X = 1\n")
    put(folder, "silent.py", GOOD.format(name="silent").replace('"""Report', '"""').replace("Report", ""))
    put(folder, "leaves.py", "\n\nraise SystemExit(3)\n")
    put(
        folder,
        "undocumented.py",
        GOOD.format(name="undocumented").replace("        mount: Mount point, absolute.\n", ""),
    )
    said = faults(folder)
    assert f"{folder}/syntax.py:1: " in said
    assert f"{folder}/missing.py:2: loading it failed with ModuleNotFoundError" in said
    assert f"{folder}/nothing.py:1: holds no tool" in said
    assert f"{folder}/leaves.py:3: loading it failed with SystemExit: 3" in said
    assert f"{folder}/undocumented.py:6: tool undocumented: parameter 'mount' is not described" in said
    assert "fine.py" not in said


def test_tool_without_docstring_does_not_load(folder: Path) -> None:
    text = GOOD.format(name="silent")
    start, end = text.index('    """Report'), text.index("    return")
    put(folder, "silent.py", text[:start] + text[end:])
    assert "silent.py:6: tool silent: no docstring" in faults(folder)


def test_duplicate_name_names_both_files(folder: Path) -> None:
    put(folder, "one.py", GOOD.format(name="same"))
    put(folder, "two.py", GOOD.format(name="same"))
    said = faults(folder)
    assert "one.py:6" in said
    assert "two.py:6" in said
    assert "rename one of them" in said


def test_name_a_model_cannot_call_is_refused(folder: Path) -> None:
    put(folder, "long.py", GOOD.format(name="x" * 65))
    assert "is no tool name" in faults(folder)


def test_imported_tool_belongs_to_its_own_file_only(folder: Path) -> None:
    put(folder, "own.py", GOOD.format(name="own"))
    alias = "\nagain = own\n"
    put(folder, "own.py", GOOD.format(name="own") + alias)
    assert load_tools([folder]).names == ("own",)


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_file_writable_by_others_is_refused(folder: Path, mode: int) -> None:
    path = put(folder, "disk.py", GOOD.format(name="disk"), mode)
    assert f"chmod go-w {path}" in faults(folder)


def test_folder_writable_by_others_is_refused_unread(folder: Path) -> None:
    put(folder, "disk.py", "raise RuntimeError('must not run')\n")
    folder.chmod(0o777)
    said = faults(folder)
    assert "others may write it" in said
    assert "must not run" not in said


def test_folder_below_a_writable_directory_is_refused(folder: Path) -> None:
    put(folder, "disk.py", GOOD.format(name="disk"))
    folder.parent.chmod(0o777)
    assert f"{folder.parent}: others may write it" in faults(folder)
    folder.parent.chmod(0o1777)
    assert load_tools([folder]).names == ("disk",)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away needs root")
def test_file_of_another_user_is_refused(folder: Path) -> None:
    os.chown(put(folder, "disk.py", GOOD.format(name="disk")), 12345, -1)
    assert "belongs to user 12345" in faults(folder)


def test_missing_folder_is_a_fault(tmp_path: Path) -> None:
    assert "cannot be read" in faults(tmp_path / "nowhere")
    assert "not installed" in faults("no_such_package_of_ours")


def test_risk_can_be_raised_and_never_lowered(folder: Path) -> None:
    put(folder, "touch.py", WRITER)
    assert load_tools([folder], risks={"touch": Risk.DANGER}).get("touch").risk is Risk.DANGER
    assert "never lower it" in faults(folder, risks={"touch": Risk.READ})


def test_override_for_an_unknown_tool_is_a_fault(folder: Path) -> None:
    put(folder, "touch.py", WRITER)
    assert "tools.risk.tuoch: there is no tool" in faults(folder, risks={"tuoch": Risk.DANGER})


def test_tool_without_impact_cannot_be_raised(folder: Path) -> None:
    put(folder, "disk.py", GOOD.format(name="disk"))
    assert "no impact and verify" in faults(folder, risks={"disk": Risk.CHANGE})


def test_unknown_tool_is_answered_with_near_misses(folder: Path) -> None:
    put(folder, "disk.py", GOOD.format(name="disk_usage"))
    registry = load_tools([folder])
    with pytest.raises(BadArguments, match="Did you mean disk_usage"):
        registry.get("disc_usage")
    with pytest.raises(BadArguments) as caught:
        registry.get("\x1b[2J" * 100)
    assert str(caught.value).isprintable()


def test_shipped_tools_load() -> None:
    registry = load_tools([SHIPPED_TOOLS])
    assert isinstance(registry, Registry)
    assert {"list_hosts", "server_status", "service_status", "service_logs", "restart_service"} <= set(registry.names)
    assert registry.get("restart_service").risk is Risk.CHANGE
