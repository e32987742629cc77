"""Figures for Prometheus: what is counted of a real run, and what can be read without the store."""

import asyncio
import json
import re
import urllib.request

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from opsbot import logs
from opsbot.adapters.metrics import Metrics, exposed
from opsbot.errors import ConfigError, StoreError
from opsbot.redact import Redactor
from tests.model_servers import ModelServer, Status, Turn
from tests.ports import reserved_port
from tests.whole_bot import ROOT, WholeBot

OPS = "C0OPS"


@pytest.fixture
def port():
    with reserved_port() as port:
        yield port


async def read(listen: str) -> dict[tuple[str, ...], float]:
    """Scrape, and return every figure by its name and the values of its labels, sorted."""

    def scrape() -> str:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=10) as answer:
            return answer.read().decode()

    families = text_string_to_metric_families(await asyncio.to_thread(scrape))
    return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}


async def test_a_question_to_the_whole_bot_is_counted_and_nothing_of_its_text_shows(tmp_path, workbench, port) -> None:
    listen = f"127.0.0.1:{port}"
    settings = f"metrics: {{listen: '{listen}'}}\nhosts: {{this-machine: {{connection: local}}}}\n"
    async with ModelServer() as model:
        look = Turn(calls=(("c1", "server_status", '{"hosts": ["this-machine"]}'),), usage=(120, 30, 64))
        model.add(look, Status(500), Turn("It is well, secretly."))
        bot = WholeBot(tmp_path, workbench, settings, model_url=model.base_url)
        await asyncio.to_thread(bot.start)
        await workbench.person("alice").says(OPS, "@opsbot how is this machine?")
        await workbench.wait_for(lambda m: "It is well, secretly." in json.dumps(m))
        await asyncio.to_thread(bot.wait_for_log, "turn.finished")
        figures = await read(listen)
        assert await asyncio.to_thread(bot.terminate) == 0
    assert figures[("opsbot_model_calls_total", "answered")] == 2
    assert figures[("opsbot_model_retries_total",)] == 1
    assert figures[("opsbot_model_tokens_total", "input")] >= 120
    assert figures[("opsbot_tool_hosts_total", "answered", "server_status")] == 1
    assert figures[("opsbot_tool_seconds_count", "server_status")] == 1
    assert figures[("opsbot_turns_total", "Answered")] == 1
    assert figures[("opsbot_requests", "pending")] == 0
    assert not re.search("this-machine|ALICE|secretly", " ".join(map(" ".join, figures)))


async def test_events_below_the_level_of_the_log_are_counted_too() -> None:
    metrics = Metrics()
    before = structlog.get_config()
    try:
        logs.configure("json", "error", Redactor(()), counting=metrics)
        structlog.get_logger("opsbot.x").info("approval.requested", approval_id="x")
        structlog.get_logger("opsbot.x").info("execution.finished", state="done")
        structlog.get_logger("opsbot.x").info("model.used", input_tokens=5, cost_usd=None, output_tokens="?")
    finally:
        structlog.configure(**before)
    assert metrics.registry.get_sample_value("opsbot_approvals_total", {"event": "requested"}) == 1
    assert metrics.registry.get_sample_value("opsbot_executions_total", {"state": "done"}) == 1
    assert metrics.registry.get_sample_value("opsbot_model_tokens_total", {"kind": "input"}) == 5
    assert metrics.registry.get_sample_value("opsbot_model_cost_dollars_total") == 0


def test_names_of_events_cannot_make_figures_without_end() -> None:
    metrics = Metrics()
    for number in range(5000):
        metrics(None, "info", {"event": f"made.up_{number}"})
    counted = [s for m in metrics.registry.collect() for s in m.samples if s.name == "opsbot_log_events_total"]
    assert len(counted) <= 301
    assert sum(sample.value for sample in counted) == 5000


async def test_without_the_store_the_other_figures_are_still_read(port) -> None:
    async def waiting() -> dict[str, int]:
        raise StoreError("The database is away.")

    metrics, listen = Metrics(), f"127.0.0.1:{port}"
    metrics.tell(version="1", model="m")
    with exposed(metrics, listen, waiting):
        figures = await read(listen)
    assert figures[("opsbot_info", "1", "m")] == 1
    assert not [key for key in figures if key[0] == "opsbot_requests"]


async def test_an_address_that_is_taken_is_a_fault_of_the_configuration(port) -> None:
    async def waiting() -> dict[str, int]:
        return {}

    listen = f"127.0.0.1:{port}"
    refused = pytest.raises(ConfigError, match=r"metrics\.listen: cannot listen at .*; choose another\.")
    with exposed(Metrics(), listen, waiting), refused, exposed(Metrics(), listen, waiting):
        pass


def test_every_figure_is_in_the_documentation_and_nothing_else_is() -> None:
    documented = set(re.findall(r"`(opsbot_[a-z_]+)", (ROOT / "docs" / "configuration.md").read_text()))
    counted = {metric.name for metric in Metrics().registry.collect()} | {"opsbot_requests"}
    totals = {name.removesuffix("_total") for name in documented}
    assert totals == {name for name in counted if name.startswith("opsbot")} - {"opsbot"} | {"opsbot_info"}
