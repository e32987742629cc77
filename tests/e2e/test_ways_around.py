"""The table of ways around an approval in the README, tried in a browser: each is refused in the words it says."""

import re
from pathlib import Path

import pytest

from opsbot.adapters.store.reading import read_audit
from tests.e2e.page import Page
from tests.e2e.test_main_job import ROOT, demo

__all__ = ["demo"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

README = (ROOT / "README.md").read_text(encoding="utf-8")
TRIES = re.findall(r"^\| (Alice|Carol) \| (.+?) \| (.+?) \|$", README, re.MULTILINE)
NOT_A_CLICK = re.compile(r"`(.+)`")


def test_every_way_around_that_the_readme_names_is_refused_and_recorded(demo: str, tmp_path: Path) -> None:
    assert len(TRIES) == 8
    with Page(demo) as page:
        page.open("/#alice/ops")
        page.send("/ops restart demo this-machine because I say so")
        page.wait_text("Approval needed: restart_service demo on this-machine")
        for who, tried, hears in TRIES:
            page.open(f"/#{who.lower()}/ops")
            if words := NOT_A_CLICK.fullmatch(tried):
                page.send(words[1])
            else:
                page.click_button("Approve")
            page.wait_text(hears)
    records = list(read_audit(f"sqlite:///{tmp_path}/data/opsbot.db"))
    kinds = [record.entry.kind for record in records]
    assert sum(kind.endswith(".refused") for kind in kinds) == len(TRIES) - 1
    assert kinds.count("conversation.asked") == 1  # words to the model's place: asked, answered, nothing proposed
    assert not [kind for kind in kinds if kind.startswith("execution.")]
