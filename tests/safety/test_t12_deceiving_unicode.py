"""T12: nothing invisible is shown anywhere, and no look-alike passes for the name of a host, a unit or a container."""

import io
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from rich.console import Console

from opsbot.actions import Catalogue
from opsbot.adapters.slack import blocks
from opsbot.adapters.terminal import render
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Host, ServiceManager, UnitFacts
from opsbot.errors import BadArguments
from opsbot.intake import Intake
from opsbot.inventory import Inventory
from opsbot.redact import Redactor
from opsbot.units import canonical_unit
from tests.safety.hostile_text import EVERY, TERMINAL, UNICODE, texts
from tests.safety.shown import contents

INVENTORY = Inventory({"web-1": Host("web-1", units=("nginx",), containers=("web",))}, {"web": ("web-1",)})
# `web-l` is a name of its own: ASCII throughout, and unknown.
STRANGE = tuple(name for name in UNICODE if not name.isascii())
CATALOGUE = Catalogue(load_tools([SHIPPED_TOOLS]), INVENTORY)
# Latin look-alikes of every letter and digit of the names there are.
ALIKE = {
    "w": "ѡԝｗ𝐰", "e": "еｅ𝐞ė", "b": "Ьｂ𝐛",
    "-": "‐‑–—−﹣－", "1": "１𝟏lI|Ⅰ", "n": "пｎ𝐧ո", "g": "ɡｇ𝐠ց", "i": "іｉ𝐢ıɩ",
    "x": "хｘ𝐱×",
}  # fmt: skip


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)


def hidden(text: str) -> list[str]:
    return [
        hex(ord(c)) for c in text if c not in "\n" and unicodedata.category(c) in ("Cf", "Cc", "Co", "Cs", "Zl", "Zp")
    ]


def check_slack(untrusted: str) -> int:
    count = 0
    for content in contents(untrusted):
        for payload in blocks.render(content):
            shown = list(strings([payload.text, payload.plain, list(payload.blocks)]))
            assert [found for text in shown for found in hidden(text)] == [], untrusted
            json.dumps(payload.blocks).encode("utf-8")
            count += 1
    return count


def test_slack_is_sent_nothing_invisible(figures: Any, scale: Any) -> None:
    shown = sum(check_slack(untrusted) for untrusted in (*UNICODE, *TERMINAL, *EVERY[:: scale(20, 1)]))
    figures.note(messages_looked_at=shown, invisible_characters=0)


@given(texts)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
def test_no_text_brings_anything_invisible(untrusted: str) -> None:
    check_slack(untrusted)
    assert hidden(Intake(Redactor()).text(untrusted).replace("\t", "")) == []


def test_a_terminal_is_sent_nothing_it_obeys(scale: Any) -> None:
    for untrusted in (*UNICODE, *TERMINAL)[:: scale(6, 1)]:
        shown = io.StringIO()
        console = Console(file=shown, width=200, color_system=None)
        for content in contents(untrusted):
            console.print(render(content))
        assert hidden(shown.getvalue()) == [], untrusted


def look_alikes(name: str) -> Iterator[str]:
    for place, char in enumerate(name):
        for other in ALIKE.get(char, ""):
            if other.isascii() and other.isalnum():
                continue
            yield f"{name[:place]}{other}{name[place + 1 :]}"
        for invisible in ("\u200b", "\u202e", "\u2066", "\ufeff", "\u00ad", "\U000e0041", "\u0301"):
            yield f"{name[:place]}{invisible}{name[place:]}"
    yield from (f"{name}\u200b", f"\u202e{name}", f"{name}\n", name.upper() + "İ", f"{name}\u0000")


def test_no_look_alike_is_a_name(figures: Any) -> None:
    refused = 0
    units = [*STRANGE, *look_alikes("nginx"), *look_alikes("nginx.service")]
    for name in units:
        with pytest.raises(BadArguments):
            canonical_unit(name, ServiceManager.SYSTEMD)
        with pytest.raises(BadArguments):
            canonical_unit(name, ServiceManager.SUPERVISORD)
        refused += 2
    for name in [*STRANGE, *look_alikes("web-1"), *look_alikes("web")]:
        with pytest.raises(BadArguments):
            INVENTORY.resolve([name])
        refused += 1
    for name in [*STRANGE, *look_alikes("web")]:
        with pytest.raises(BadArguments):
            CATALOGUE.from_words("restart_container", ["web-1"], {"container": name})
        refused += 1
    figures.note(look_alikes_refused=f"{refused:,} of {refused:,}")


def test_a_unit_named_by_a_host_is_shown_spelled_out() -> None:
    taken = Intake(Redactor()).value(UnitFacts("ngi\u202enx.service", description="\u200bnginx")).value
    assert taken.unit == "nginx.service"
    assert taken.description == "nginx"
