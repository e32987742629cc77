"""The usage that the README shows is what a question to a model of known price leads to."""

import re
from pathlib import Path

from opsbot.adapters.prices import KnownPrices
from opsbot.config_budget import Budget, budgets_of
from opsbot.domain import Usage
from opsbot.spending import Spending
from tests.scenario.house import ALICE, BOB, House, World
from tests.scripted_model import Say, ScriptedModel, call

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


async def test_the_readme_shows_what_usage_answers() -> None:
    (shown,) = re.findall(r"`/ops usage day 1` answers an approver:\n\n```text\n(.*?)\n```", README, re.DOTALL)
    model = ScriptedModel(
        Say(calls=(call("server_status", hosts=["web-1"]),), usage=Usage(2800, 100)),
        Say("It is fine.", usage=Usage(3200, 200, 2800)),
        name="gpt-6-luna",
    )
    spending = Spending("openai", budgets_of(Budget()))
    house = House(World(model=model, prices=KnownPrices("https://api.openai.com/v1", {}), spending=spending))
    await house.start()
    await house.says(ALICE, "how is web-1?")
    await house.types(BOB, "usage day 1")
    assert house.whispered == shown
    await house.stop()
