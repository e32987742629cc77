"""host_history: what it says of samples, to the model and to people; honest when there are few, old or none."""

import json
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from opsbot_tools import host_history as module
from opsbot_tools.host_history import host_history

from opsbot.context import Context
from opsbot.domain import History, Host, Metric, Sample
from opsbot.errors import BadArguments
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines

WEB, DB = Host("web-1"), Host("db-1")
NOW = FakeClock().now()
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Kept:
    """A `Past` of made up courses; `put(host, metric, values)` ends now, one value a minute unless told otherwise."""

    def __init__(self, *, every_s: float = 60) -> None:
        self.every_s = every_s
        self.samples: dict[str, list[Sample]] = {}
        self.asked: list[tuple[str, set[Metric], float]] = []

    def put(self, host, metric, values, *, step=MINUTE, until=NOW, part="") -> "Kept":
        first = until - (len(values) - 1) * step
        self.samples.setdefault(host, []).extend(
            Sample(host, metric, first + n * step, float(value), part)
            for n, value in enumerate(values)
            if value is not None
        )
        return self

    def seen(self, host, values, **where) -> "Kept":
        """Whether it answered."""
        return self.put(host, Metric.REACHABLE, values, **where)

    def history(self, host, metrics, *, hours) -> History:
        self.asked.append((host, set(metrics), hours))
        kept = sorted(self.samples.get(host, ()), key=lambda sample: sample.at)
        since = NOW - timedelta(hours=hours)
        found = tuple(sample for sample in kept if sample.metric in metrics and sample.at >= since)
        return History(found, NOW, kept[0].at if kept else None, self.every_s)


def look(kept: Kept, metric: str, hours: int = 24, host: Host = WEB, **more: Any) -> dict[str, Any]:
    found = host_history.function(Context(FakeMachines(), timeout_s=5, past=kept), host, metric, hours, **more)
    assert isinstance(found, dict)
    return found


def steady(metric: Metric, values, **where) -> Kept:
    return Kept().seen("web-1", [1.0] * len(values), **where).put("web-1", metric, values, **where)


def told(results: dict[str, Any]) -> dict[str, Any]:
    """What the model reads."""
    combined = module._combine(results)
    found: dict[str, Any] = json.loads(json.dumps(combined, allow_nan=False))
    return found


def when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


# --- figures ---------------------------------------------------------------------------------------------------------


def test_the_figures_of_a_course() -> None:
    found = look(steady(Metric.MEMORY, [40] * 1000 + [70] + [50] * 439), "memory")
    assert (found["now"], found["min"], found["max"], found["samples"]) == (50, 40, 70, 1440)
    assert found["mean"] == pytest.approx(43.07, abs=0.01)
    assert found["p95"] == 50
    assert found["max_at"] == when(NOW - 439 * MINUTE)
    assert found["unreachable"] == found["gaps"] == []
    assert found["note"] == ""


def test_the_host_itself_is_not_asked() -> None:
    machines = FakeMachines()
    machines.fault("web-1", "down")
    kept = steady(Metric.LOAD, [1] * 60)
    host_history.function(Context(machines, timeout_s=5, past=kept), WEB, "load", 1)
    assert machines.commands == []
    assert kept.asked == [("web-1", {Metric.LOAD, Metric.REACHABLE, Metric.UPTIME, Metric.CPUS}, 1)]


def test_beyond_the_limit_it_says_since_when() -> None:
    found = look(steady(Metric.MEMORY, [60] * 300 + [93] * 120), "memory")
    since = NOW - 119 * MINUTE
    assert f"at or above 90% since {when(since)} (1h 59m)" in found["since"]
    assert any(said.startswith("about 93% since") for said in found["since"])


def test_beyond_the_limit_for_the_whole_window_it_says_or_earlier() -> None:
    (said,) = look(steady(Metric.CPU, [95] * 60), "cpu", 1)["since"]
    assert "or earlier" in said


def test_what_was_beyond_the_limit_and_is_no_more_is_told_with_its_end() -> None:
    found = look(steady(Metric.MEMORY, [60] * 50 + [95] * 10 + [60] * 40), "memory")
    assert f"at or above 90% for 10% of the samples, last until {when(NOW - 39 * MINUTE)}" in found["since"]


def test_the_loads_limit_is_the_number_of_processors() -> None:
    kept = steady(Metric.LOAD, [0.5] * 30 + [6.0] * 30).put("web-1", Metric.CPUS, [4.0], until=NOW - HOUR / 2)
    found = look(kept, "load", 1)
    assert found["limit"] == 4.0
    assert any(said.startswith("at or above 4 (its processors) since") for said in found["since"])
    unknown = look(steady(Metric.LOAD, [6.0] * 60), "load", 1)
    assert unknown["limit"] is None


def test_failed_units_say_since_when_there_are_some() -> None:
    found = look(steady(Metric.FAILED_UNITS, [0] * 100 + [2] * 44, step=10 * MINUTE), "failed_units")
    assert f"about 2 since {when(NOW - 430 * MINUTE)}, about 0 before" in found["since"]


# --- where it goes ---------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_says_when_it_is_full() -> None:
    values = [80 + n / 144 * 10 for n in range(144)]
    found = look(steady(Metric.DISK, values, step=10 * MINUTE, part="/"), "disk")
    assert found["trend"].startswith("rising by 10.0 points a day; full in about 1d 0h at this pace")
    assert found["mount"] == "/"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([50] * 600, "steady"),
        ([50 + (n % 2) * 30 for n in range(600)], "up and down, no direction"),
        ([70 - n / 30 for n in range(600)], "falling by 48.0 points a day"),
        ([20] * 300 + [60] * 300, "steady"),
        ([20] * 300 + [60] * 5, "just changed"),
        ([50] * 3, "too few samples for a trend"),
    ],
)
def test_the_course_in_words(values, says) -> None:
    assert look(steady(Metric.MEMORY, values), "memory")["trend"] == says


def test_a_step_is_told_with_both_levels() -> None:
    found = look(steady(Metric.MEMORY, [35] * 100 + [62] * 100), "memory")
    assert found["since"] == [f"about 62% since {when(NOW - 99 * MINUTE)}, about 35% before"]


# --- reboots, outages, gaps ------------------------------------------------------------------------------------------


def test_a_reboot_is_told_with_every_figure() -> None:
    kept = steady(Metric.MEMORY, [50] * 120)
    kept.put("web-1", Metric.UPTIME, [1e6 + 60 * n if n < 60 else 60 * (n - 58) for n in range(120)])
    found = look(kept, "memory")
    assert f"rebooted at {when(NOW - 61 * MINUTE)}" in found["since"]


def test_uptime_says_since_when_it_is_up_and_its_boots() -> None:
    kept = Kept().seen("web-1", [1.0] * 120)
    kept.put("web-1", Metric.UPTIME, [1e6 + 60 * n if n < 60 else 60 * (n - 58) for n in range(120)])
    booted = when(NOW - 61 * MINUTE)
    assert look(kept, "uptime")["since"] == [f"rebooted at {booted}", f"up since {booted}"]


def test_an_outage_is_seen_in_every_figure_and_ends() -> None:
    answered = [1.0] * 60 + [0.0] * 30 + [1.0] * 30
    kept = Kept().seen("web-1", answered)
    kept.put("web-1", Metric.MEMORY, [50 if one else None for one in answered])
    down, back = NOW - 59 * MINUTE, NOW - 29 * MINUTE
    found = look(kept, "memory")
    assert found["unreachable"] == [f"{when(down)} to {back:%Y-%m-%d %H:%M} (30m 0s)"]
    assert (found["now"], found["gaps"]) == (50, [])
    reachable = look(kept, "reachable")
    assert reachable["since"] == [f"answers again since {when(back)}"]
    assert (reachable["mean"], reachable["now"]) == (75.0, 100.0)


def test_a_host_that_is_down_has_no_present_figure_and_says_since_when() -> None:
    kept = Kept().seen("web-1", [1.0] * 30 + [0.0] * 30)
    kept.put("web-1", Metric.MEMORY, [50] * 30, until=NOW - 30 * MINUTE)
    found = look(kept, "memory", 1)
    assert found["now"] is None
    assert found["last"] == f"50% at {when(NOW - 30 * MINUTE)}"
    assert found["unreachable"] == [f"since {when(NOW - 29 * MINUTE)} (29m 0s), still"]
    reachable = look(kept, "reachable", 1)
    assert reachable["now"] == 0.0
    assert reachable["since"] == [f"no answer since {when(NOW - 29 * MINUTE)} (29m 0s)"]


def test_times_without_samples_are_named_and_only_the_newest() -> None:
    kept = Kept()
    for n in range(8):
        until = NOW - n * 20 * MINUTE
        kept.seen("web-1", [1.0] * 10, until=until).put("web-1", Metric.LOAD, [1.0] * 10, until=until)
    found = look(kept, "load")
    assert found["gaps"][0] == "2 more before"
    assert len(found["gaps"]) == 6
    assert found["gaps"][-1].endswith("(11m 0s)")


def test_where_nobody_looks_by_himself_pauses_mean_nothing() -> None:
    kept = Kept(every_s=0)
    for hours in (20, 11, 0):
        kept.seen("web-1", [1.0], until=NOW - hours * HOUR).put("web-1", Metric.LOAD, [1.0], until=NOW - hours * HOUR)
    found = look(kept, "load")
    assert found["gaps"] == []
    assert "measured only when somebody looked" in found["note"]


def test_an_old_figure_is_not_called_the_present_one() -> None:
    for every_s in (0, 60):
        kept = Kept(every_s=every_s).seen("web-1", [1.0] * 60, until=NOW - HOUR)
        kept.put("web-1", Metric.LOAD, [1.0] * 60, until=NOW - HOUR)
        found = look(kept, "load")
        assert found["now"] is None
        assert f"nothing was measured since {when(NOW - HOUR)}" in found["note"]


def test_a_disk_read_ten_minutes_ago_is_present_and_hours_ago_is_not() -> None:
    for age, present in ((9 * MINUTE, 80.0), (5 * HOUR, None)):
        kept = Kept().seen("web-1", [1.0] * 400).put("web-1", Metric.DISK, [80.0], until=NOW - age, part="/")
        assert look(kept, "disk")["now"] == present


# --- few or none -----------------------------------------------------------------------------------------------------


def test_with_one_sample_it_says_what_it_can() -> None:
    found = look(steady(Metric.LOAD, [0.4]), "load")
    assert (found["now"], found["min"], found["mean"], found["samples"]) == (0.4, 0.4, 0.4, 1)
    assert found["trend"] == "too few samples for a trend"
    assert found["since"] == []
    assert found["note"] == f"kept since {when(NOW)} only"
    assert module._charts({"web-1": found}) == []


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        (Kept(), "no samples yet; this host is looked at every 60 s"),
        (Kept(every_s=0), "no samples yet; hosts are not looked at by themselves here"),
        (
            Kept().put("web-1", Metric.LOAD, [1.0], until=NOW - 3 * DAY),
            f"no samples in this time; the first one kept is of {when(NOW - 3 * DAY)}",
        ),
        (Kept().seen("web-1", [1.0] * 9), "9 looks in this time, but this figure was not known"),
    ],
)
def test_without_samples_it_says_why(kept: Kept, says: str) -> None:
    found = look(kept, "swap")
    assert found["samples"] == 0
    assert found["note"].startswith(says)
    table = module._table({"web-1": found})
    assert table.rows[0][0] == "web-1"
    assert table.rows[0][7].startswith(says)
    assert told({"web-1": found})["servers"]["web-1"]["samples"] == 0


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def disks() -> Kept:
    kept = Kept().seen("web-1", [1.0] * 60)
    for mount, level in (("/", 40.0), ("/var", 91.0), ("/srv", 10.0)):
        kept.put("web-1", Metric.DISK, [level] * 6, step=10 * MINUTE, part=mount)
    return kept


def test_the_fullest_mount_is_told_and_the_others_named(disks: Kept) -> None:
    found = look(disks, "disk", 1)
    assert (found["mount"], found["now"]) == ("/var", 91.0)
    assert found["other_mounts"] == {"/": 40.0, "/srv": 10.0}
    (chart,) = module._charts({"web-1": found})
    assert [line.name for line in chart.series] == ["web-1 /var", "web-1 /", "web-1 /srv"]
    assert chart.threshold == 90.0


def test_a_mount_can_be_named(disks: Kept) -> None:
    assert look(disks, "disk", 1, mount="/srv")["now"] == 10.0
    missing = look(disks, "disk", 1, mount="/nowhere")
    assert missing["note"] == "no samples of /nowhere; there are of /, /var, /srv"
    with pytest.raises(BadArguments, match="disk only"):
        look(disks, "load", 1, mount="/")


# --- many hosts ------------------------------------------------------------------------------------------------------


def many(count: int, metric: str = "load") -> dict[str, Any]:
    kept = Kept()
    for n in range(count):
        name = f"h{n:02d}"
        kept.seen(name, [1.0] * 60).put(name, Metric.LOAD, [float(n)] * 60)
    return {f"h{n:02d}": look(kept, metric, 1, host=Host(f"h{n:02d}")) for n in range(count)}


def test_a_chart_has_twelve_lines_at_most_those_that_matter() -> None:
    (chart,) = module._charts(many(40))
    assert chart.title == "load (1 minute), last 1 h (12 of 40, the highest)"
    assert [line.name for line in chart.series] == [f"h{n:02d}" for n in range(39, 27, -1)]
    assert len(module._table(many(40)).rows) == 40


def test_the_model_reads_twenty_servers_without_their_points_and_the_number_of_the_others() -> None:
    found = told(many(40))
    assert found["not_shown"] == 20
    assert "h39" in found["servers"]
    assert "points" not in json.dumps(found)
    assert len(json.dumps(found)) < 12_000


def test_the_answer_for_one_server_is_small() -> None:
    answered = ([1.0] * 10 + [0.0] * 5 + [None] * 10) * 40
    kept = Kept().seen("web-1", answered)
    kept.put("web-1", Metric.MEMORY, [n % 97 if one else None for n, one in enumerate(answered)])
    assert len(json.dumps(told({"web-1": look(kept, "memory")}))) < 2000


def test_a_chart_of_two_weeks_has_few_points_and_says_what_they_are() -> None:
    kept = Kept().seen("web-1", [1.0] * 1728, step=10 * MINUTE, until=NOW - 2 * DAY).seen("web-1", [1.0] * 2880)
    kept.put("web-1", Metric.LOAD, [1.0] * 1728, step=10 * MINUTE, until=NOW - 2 * DAY)
    kept.put("web-1", Metric.LOAD, [3.0] * 2880)
    found = look(kept, "load", 336)
    (chart,) = module._charts({"web-1": found})
    assert len(chart.series[0].points) <= 360
    # Twelve days of 1 and two of 3: each day counts the same, however many samples it has.
    assert found["mean"] == pytest.approx(1.29, abs=0.02)
    assert found["gaps"] == []
    assert "means of 10 minutes" in module._table({"web-1": found}).title


@pytest.mark.parametrize("word", get_args(module.Word))
def test_every_word_works_whatever_was_measured(word: str) -> None:
    kept = Kept().seen("web-1", [1.0] * 60)
    for metric in Metric:
        if metric is not Metric.REACHABLE:
            kept.put("web-1", metric, [n % 7 for n in range(60)], part="/" if metric is Metric.DISK else "")
    results = {"web-1": look(kept, word, 1), "db-1": look(kept, word, 1, host=DB)}
    assert [len(row) for row in module._table(results).rows] == [9, 9]
    assert len(module._charts(results)) == 1
    assert set(told(results)["servers"]) == {"web-1", "db-1"}


def test_a_context_without_a_past_says_that_nothing_is_kept() -> None:
    found = host_history.function(Context(FakeMachines(), timeout_s=5), WEB, "load", 1)
    assert found["samples"] == 0
