"""`opsbot report`: prints a stored report beside a running bot, and says when there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

from opsbot.adapters.store import open_store
from tests.contract.test_store_reports import a_report
from tests.records import KEY, entry

ROOT = Path(__file__).parents[2]


def opsbot(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "SLACK_"))}
    command = [sys.executable, "-m", "opsbot", "report", *words, "--config", str(folder / "config.yaml")]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)


async def test_a_report_is_printed_in_both_forms_beside_a_running_bot(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_text(KEY.hex())
    (tmp_path / "audit.key").chmod(0o600)
    url = f"sqlite:///{tmp_path}/x.db"
    (tmp_path / "config.yaml").write_text(f'store: {{url: "{url}", audit_key: {{file: "{tmp_path}/audit.key"}}}}\n')
    store = open_store(url, audit_key=KEY)
    await store.reports.add(a_report(), entry("report.drafted"))
    markdown, data = opsbot(tmp_path, "rprt2345"), opsbot(tmp_path, "RPRT2345", "--format", "json")
    missing = opsbot(tmp_path, "NOWHERE2")
    await store.close()
    assert markdown.stdout.startswith("# Checkout down\n"), markdown.stderr
    assert json.loads(data.stdout)["words"]["title"] == "Checkout down"
    assert missing.returncode == 1
    assert "there is no report" in missing.stderr
