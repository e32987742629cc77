"""How the executor looks: what tools are given, what comes back of every host, and what is said of those that fail."""

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from opsbot import reads as reads_module
from opsbot.actions import Catalogue
from opsbot.context import Context
from opsbot.discovery import Registry
from opsbot.domain import Host, HostOutcome, Impact, Result, UnitVerb
from opsbot.errors import BadArguments, HostUnreachable, ToolError
from opsbot.executor import Executor
from opsbot.inventory import Inventory
from opsbot.reads import FanOut
from opsbot.tooling import Container, Unit, tool
from tests.small_tools import executor_of

HOSTS = {name: Host(name, environment="x", units=("nginx.service",), containers=("web",)) for name in ("a", "b", "c")}


class Past:
    """What was measured earlier, or was written down: nothing."""


class Seen:
    """What the tools of a test were given, in order, and what they do with it."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Context, dict[str, object]]] = []
        self.threads: list[str] = []
        self.then: Callable[[str, Context], object] = lambda host, context: "seen"

    def __call__(self, host: str, context: Context, **arguments: object) -> object:
        self.given.append((host, context, arguments))
        self.threads.append(threading.current_thread().name)
        return self.then(host, context)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def catalogue(seen: Seen) -> Catalogue:
    def impact(ctx: Context, host: Host, unit: Unit, container: Container | None = None) -> Impact:
        value = seen(host.name, ctx, unit=unit, container=container)
        return Impact((("said", str(value)),), {"mark": "1"})

    def verify(ctx: Context, host: Host, before: Impact, unit: Unit, container: Container | None = None) -> HostOutcome:
        return HostOutcome(host.name, Result.DONE, "done")

    def available(ctx: Context, host: Host, unit: Unit, container: Container | None = None) -> bool:
        return seen(host.name, ctx, unit=unit, container=container)  # type: ignore[return-value]

    @tool(risk="change", timeout_s=40, impact=impact, verify=verify, available=available)
    def change_it(ctx: Context, host: Host, unit: Unit, container: Container | None = None) -> str:
        """Change it.

        Args:
            unit: Unit.
            container: Container.
        """
        return "changed"

    @tool(risk="read", timeout_s=30)
    def look(ctx: Context, host: Host, unit: Unit, container: Container | None = None) -> str:
        """Look.

        Args:
            unit: Unit.
            container: Container.
        """
        return seen(host.name, ctx, unit=unit, container=container)  # type: ignore[return-value]

    @tool(risk="read", timeout_s=20)
    def count(ctx: Context, most: int = 3) -> dict[str, int]:
        """Count.

        Args:
            most: At most.
        """
        return seen("", ctx, most=most)  # type: ignore[return-value]

    @tool(risk="read", combine=lambda results: sorted(results))
    def gather(ctx: Context, host: Host) -> str:
        """Gather."""
        return seen(host.name, ctx)  # type: ignore[return-value]

    @tool(risk="change", impact=impact, verify=verify)
    def blind(ctx: Context, host: Host, unit: Unit) -> str:
        """Change it, and say nothing of what serves.

        Args:
            unit: Unit.
        """
        return "changed"

    return Catalogue(Registry((change_it, look, count, gather, blind)), Inventory(HOSTS, {}))


@pytest.fixture
async def executor(catalogue: Catalogue):
    made = executor_of(catalogue, sleep=_asleep, past=PAST, library=LIBRARY)
    yield made
    made.close()


def _asleep(seconds: float) -> None:
    raise AssertionError(f"slept {seconds} s")


PAST, LIBRARY = Past(), Past()
WITH_UNIT = {"unit": "nginx"}


# --- reads -----------------------------------------------------------------------------------------------------------


async def test_each_host_is_looked_at_with_typed_arguments_and_the_tools_own_time(executor, catalogue, seen):
    found = await executor.read(catalogue.from_words("look", ["a", "b"], {**WITH_UNIT, "container": "web"}))
    assert found == FanOut({"a": "seen", "b": "seen"}, {}, None, True, 0)
    assert sorted(host for host, _, _ in seen.given) == ["a", "b"]
    for _, context, arguments in seen.given:
        assert arguments == {"unit": "nginx.service", "container": "web"}
        assert (type(arguments["unit"]), type(arguments["container"])) == (Unit, Container)
        assert 20 < context.remaining_s <= 30
        assert context.hosts == tuple(HOSTS.values())
        assert (context._past, context._library, context._sleep) == (PAST, LIBRARY, _asleep)
    assert all(name.startswith("opsbot-read") for name in seen.threads)


async def test_an_argument_that_is_not_given_stays_none_and_no_name_of_a_thing(executor, catalogue, seen):
    await executor.read(catalogue.from_words("look", ["a"], WITH_UNIT))
    ((_, _, arguments),) = seen.given
    assert arguments == {"unit": "nginx.service", "container": None}


async def test_a_tool_that_looks_is_given_no_way_to_act(executor, catalogue, seen):
    prepared = catalogue.from_words("change_it", ["a"], WITH_UNIT)
    await executor.read(catalogue.from_words("look", ["a"], WITH_UNIT))
    await executor.impacts(prepared)
    await executor.unavailable(prepared)
    assert len(seen.given) == 3
    for host, context, _ in seen.given:
        with pytest.raises(ToolError, match="Only an approved action may restart"):
            context.act(HOSTS[host], UnitVerb.RESTART, "nginx.service")


async def test_a_tool_without_hosts_is_given_its_arguments_and_its_time(executor, catalogue, seen):
    seen.then = lambda host, context: {"found": 2}
    found = await executor.read(catalogue.from_words("count", [], {"most": 2}))
    assert found == FanOut({"": {"found": 2}}, {}, None, True, 0)
    assert json.loads(found.as_json()) == {"found": 2}
    ((_, context, arguments),) = seen.given
    assert arguments == {"most": 2}
    assert 10 < context.remaining_s <= 20


async def test_an_answer_for_each_host_and_an_error_for_each_that_failed(executor, catalogue, seen):
    def then(host: str, context: Context) -> str:
        if host == "b":
            raise HostUnreachable(f"No way to {host}: hunter2-hunter2.")
        return host.upper()

    seen.then = then
    found = await executor.read(catalogue.from_words("look", ["a", "b", "c"], WITH_UNIT))
    assert found.results == {"a": "A", "c": "C"}
    assert set(found.errors) == {"b"}
    assert found.errors["b"].startswith("No way to b: ")
    assert "hunter2" not in found.errors["b"]
    assert json.loads(found.as_json()) == {"results": {"a": "A", "c": "C"}, "errors": found.errors}


async def test_an_answer_that_comes_a_little_late_is_taken_and_one_that_does_not_come_is_told(
    executor, catalogue, seen, monkeypatch
):
    tools = tuple(replace(each, timeout_s=0.0) for each in catalogue.registry.tools)
    hurried = Catalogue(Registry(tools), catalogue.inventory)
    monkeypatch.setattr(reads_module, "GRACE_S", 20.0)
    seen.then = lambda host, context: time.sleep(0.01) or "late"
    assert (await executor.read(hurried.from_words("look", ["a"], WITH_UNIT))).results == {"a": "late"}
    monkeypatch.setattr(reads_module, "GRACE_S", 0.0)
    go = threading.Event()
    seen.then = lambda host, context: go.wait(20)
    found = await executor.read(hurried.from_words("look", ["a"], WITH_UNIT))
    go.set()
    assert found.errors == {"a": "No answer within 0 s."}


async def test_what_a_host_says_of_an_error_has_an_end(executor, catalogue, seen):
    def then(host: str, context: Context) -> str:
        raise ToolError("x" * 5_000)

    seen.then = then
    found = await executor.read(catalogue.from_words("look", ["a"], WITH_UNIT))
    assert found.errors["a"].startswith("x" * 2_000 + "…[3000 characters left out]")


async def test_what_a_tool_puts_together_stands_for_all_hosts_and_errors_beside_it(executor, catalogue, seen):
    def then(host: str, context: Context) -> str:
        if host == "b":
            raise ToolError("Broken.")
        return host

    seen.then = then
    found = await executor.read(catalogue.from_words("gather", ["a", "b", "c"], {}))
    assert found.combined == ["a", "c"]
    assert json.loads(found.as_json()) == {"all": ["a", "c"], "errors": {"b": "Broken."}}
    seen.then = lambda host, context: (_ for _ in ()).throw(ToolError("Broken."))
    nothing = await executor.read(catalogue.from_words("gather", ["a"], {}))
    assert nothing.combined is None
    assert json.loads(nothing.as_json()) == {"results": {}, "errors": {"a": "Broken."}}


def test_what_was_too_much_is_counted_for_the_model():
    assert json.loads(FanOut({"a": 1}, {}, left_out=12345).as_json()) == {
        "results": {"a": 1},
        "left_out": "12,345 items",
    }
    assert json.loads(FanOut({"a": 1}, {}).as_json()) == {"results": {"a": 1}}


async def test_items_too_many_or_too_deep_to_take_in_are_added_up_over_hosts(executor, catalogue, seen):
    deep: object = 1
    for _ in range(20):
        deep = [deep]
    seen.then = lambda host, context: deep
    one = await executor.read(catalogue.from_words("gather", ["a"], {}))
    two = await executor.read(catalogue.from_words("gather", ["a", "b"], {}))
    assert one.left_out > 0
    assert two.left_out == 2 * one.left_out
    assert two.untrusted


@pytest.mark.parametrize(
    ("taints", "value", "fails", "untrusted"),
    [
        (False, 7, False, False),
        (True, 7, False, True),
        (False, "free words of a host", False, True),
        (False, 7, True, True),
    ],
)
async def test_an_answer_is_untrusted_if_the_tool_any_value_or_any_error_is(seen, taints, value, fails, untrusted):
    @tool(risk="read", taints=taints)
    def ask(ctx: Context, host: Host) -> object:
        """Ask."""
        if fails and host.name == "b":
            raise ToolError("It says no.")
        return value if host.name == "b" else 1

    catalogue = Catalogue(Registry((ask,)), Inventory(HOSTS, {}))
    executor = executor_of(catalogue)
    try:
        assert (await executor.read(catalogue.from_words("ask", ["a", "b"], {}))).untrusted is untrusted
    finally:
        executor.close()


async def test_a_change_is_never_run_as_a_look_and_is_told_so(executor, catalogue):
    with pytest.raises(BadArguments) as refused:
        await executor.read(catalogue.from_words("change_it", ["a"], WITH_UNIT))
    assert str(refused.value) == "change_it changes things, so it is not run as a read."


async def test_a_tool_that_breaks_is_told_by_the_kind_of_error_and_logged(executor, catalogue, seen):
    seen.then = lambda host, context: 1 / 0
    with capture_logs() as logged:
        found = await executor.read(catalogue.from_words("look", ["a"], WITH_UNIT))
    assert found.errors == {"a": "The tool itself failed (ZeroDivisionError); the log has the rest."}
    told = [(line["event"], line["log_level"]) for line in logged]
    assert told == [("tool.crashed", "error"), ("tool.finished", "info")]


async def test_who_asks_for_many_hosts_lets_others_ask_in_between(catalogue, seen):
    """One thread, three hosts of one asker, and one host of another: the other is not last."""
    executor = executor_of(catalogue, threads=1)
    try:
        many = executor.read(catalogue.from_words("look", ["a", "b", "c"], WITH_UNIT))
        one = executor.read(catalogue.from_words("gather", ["a"], {}))
        await asyncio.gather(many, one)
    finally:
        executor.close()
    asked = ["gather" if not arguments else host for host, _, arguments in seen.given]
    assert asked.index("gather") < len(asked) - 1


# --- what an action would hit, and who serves --------------------------------------------------------------------


async def test_what_would_be_hit_is_collected_of_every_host(executor, catalogue, seen):
    seen.then = lambda host, context: host * 2
    found = await executor.impacts(catalogue.from_words("change_it", ["a", "c"], WITH_UNIT))
    assert found == {name: Impact((("said", name * 2),), {"mark": "1"}) for name in ("a", "c")}
    for _, context, arguments in seen.given:
        assert arguments == {"unit": "nginx.service", "container": None}
        assert type(arguments["unit"]) is Unit
        assert 5 < context.remaining_s <= 15


async def test_one_host_that_cannot_be_examined_is_enough_to_propose_nothing(executor, catalogue, seen):
    def then(host: str, context: Context) -> str:
        if host != "b":
            raise HostUnreachable(f"{host} is hunter2-hunter2.")
        return host

    seen.then = then
    with pytest.raises(ToolError) as refused:
        await executor.impacts(catalogue.from_words("change_it", ["a", "b", "c"], WITH_UNIT))
    shown = executor._reads.said(HostUnreachable("x is hunter2-hunter2.")).removeprefix("x is ")
    assert str(refused.value) == (
        f"Not proposed, since the target could not be examined. a: a is {shown}; c: c is {shown}"
    )


async def test_what_cannot_say_what_it_would_hit_is_not_proposed(executor, catalogue):
    with pytest.raises(ToolError) as refused:
        await executor.impacts(catalogue.from_words("look", ["a"], WITH_UNIT))
    assert str(refused.value) == "look cannot say what it would hit, so it is not proposed."


async def test_who_does_not_serve_or_cannot_say_is_out_of_service(executor, catalogue, seen):
    def then(host: str, context: Context) -> bool:
        if host == "c":
            raise HostUnreachable("down")
        return host == "a"

    seen.then = then
    prepared = catalogue.from_words("change_it", ["a", "b", "c"], {**WITH_UNIT, "container": "web"})
    assert await executor.unavailable(prepared) == {"b", "c"}
    for _, context, arguments in seen.given:
        assert (type(arguments["unit"]), type(arguments["container"])) == (Unit, Container)
        assert 3 < context.remaining_s <= 10
    assert await executor.unavailable(catalogue.from_words("blind", ["a"], WITH_UNIT)) == frozenset()


# --- its own threads -------------------------------------------------------------------------------------------------


async def test_closing_waits_for_nobody_and_begins_nothing_more(catalogue):
    executor: Executor = executor_of(catalogue, threads=1)
    started, go, ran = threading.Event(), threading.Event(), []

    def hold() -> None:
        started.set()
        go.wait(20)

    under_way = executor._writes.submit(hold)
    waiting = executor._writes.submit(ran.append, 1)
    assert started.wait(20)
    executor.close()
    assert not under_way.done(), "closing waited"
    assert waiting.cancelled()
    go.set()
    with pytest.raises(RuntimeError):
        executor._writes.submit(ran.append, 2)
    prepared = catalogue.from_words("look", ["a"], WITH_UNIT)
    found = await executor.read(prepared)
    assert found.results == {}
    with suppress(RuntimeError):
        under_way.result(20)
    assert ran == []


def test_reads_and_actions_have_threads_of_their_own_by_name(catalogue):
    executor = executor_of(catalogue, threads=3)
    try:
        assert executor._writes.submit(lambda: threading.current_thread().name).result(20).startswith("opsbot-write")
        assert executor._writes._max_workers == 3
    finally:
        executor.close()
