"""What is built and installed is the whole of opsbot, from locked dependencies."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = ("requirements.lock", "requirements-dev.lock")


def locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ \\]+)", text, re.MULTILINE))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel from what git knows, as a release does, and return the names in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).exists() and not name.startswith("tests/")]
    subprocess.run(["tar", "-cf", str(folder / "s.tar"), *files], cwd=ROOT, check=True)
    subprocess.run(["tar", "-xf", str(folder / "s.tar"), "-C", str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(source)], check=True)
    (built,) = folder.glob("opsbot-*.whl")
    return set(zipfile.ZipFile(built).namelist())


@pytest.mark.timeout(300)
def test_wheel_has_every_module_tool_and_file(wheel: set[str]) -> None:
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "opsbot").rglob("*.py")}
    expected |= {f"opsbot_tools/{path.name}" for path in (ROOT / "tools").glob("*.py")}
    expected |= {
        str(path.relative_to(ROOT)) for path in (ROOT / "opsbot/workbench/static").rglob("*") if path.is_file()
    }
    expected |= {"opsbot/manifest.json", "opsbot/py.typed", "opsbot/__init__.pyi"}
    expected |= {str(path.relative_to(ROOT)) for path in (ROOT / "opsbot/prompts").glob("*.txt")}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    known = set(tracked) | {name.replace("tools/", "opsbot_tools/") for name in tracked if name.startswith("tools/")}
    assert (expected & known) - wheel == set()
    assert "opsbot/prompts/system.txt" in wheel
    assert any(name.startswith("opsbot/adapters/store/migrations/versions/") and name[-4:] != "t.py" for name in wheel)
    assert not [name for name in wheel if name.startswith(("tests", "benchmarks"))]


def test_every_package_is_listed() -> None:
    found = {str(path.parent.relative_to(ROOT)).replace("/", ".") for path in (ROOT / "opsbot").rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found | {"opsbot_tools"}


@pytest.mark.parametrize("name", LOCKS)
def test_lock_fits_the_project(name: str) -> None:
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["router"]]
    wanted += PROJECT["build-system"]["requires"]
    wanted += PROJECT["dependency-groups"]["dev"] if "dev" in name else []
    versions = locked(name)
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[normal(requirement.name)]), text


def test_both_locks_agree() -> None:
    runtime, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert runtime.items() <= dev.items()


@pytest.mark.parametrize("name", LOCKS)
def test_lock_has_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|^-|@ ", text, re.MULTILINE)
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE).strip())
    assert len(entries) >= 40
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_every_dependency_earns_its_line() -> None:
    text = (ROOT / "docs/adr/0004-dependencies.md").read_text(encoding="utf-8").lower()
    names = [Requirement(line).name.lower() for line in PROJECT["project"]["dependencies"]]
    assert [name for name in names if name not in text] == []
