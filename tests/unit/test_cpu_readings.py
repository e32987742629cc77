"""How busy a CPU was between two looks, and when there is nothing to compare."""

from opsbot.adapters.cpu_readings import CpuReading, CpuReadings, CpuTime


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def reading(uptime_s: float, busy: float, *, boot: str = "b1", cpus: int = 2) -> CpuReading:
    total = uptime_s * cpus
    return CpuReading(boot, uptime_s, CpuTime(total, total - busy))


def test_the_first_look_knows_nothing_and_the_next_the_share_between_them() -> None:
    readings = CpuReadings()
    assert readings.percent("a", reading(100, 50)) is None
    assert readings.percent("a", reading(110, 55)) == 25.0
    assert readings.percent("b", reading(110, 55)) is None


def test_looks_less_than_a_second_apart_compare_with_an_older_one() -> None:
    readings = CpuReadings()
    readings.percent("a", reading(100, 0))
    assert readings.percent("a", reading(100.5, 1)) is None
    assert readings.percent("a", reading(101, 1)) == 50.0
    assert readings.percent("a", reading(101.5, 1.5)) == 50.0  # still since 100
    assert readings.percent("a", reading(102, 1)) == 0.0  # since 101


def test_what_is_older_than_two_minutes_is_not_compared() -> None:
    readings = CpuReadings()
    readings.percent("a", reading(100, 0))
    assert readings.percent("a", reading(220, 24)) == 10.0
    assert readings.percent("a", reading(341, 30)) is None
    assert readings.percent("a", reading(351, 32)) == 10.0


def test_a_reboot_begins_anew() -> None:
    readings = CpuReadings()
    readings.percent("a", reading(100, 50))
    assert readings.percent("a", reading(105, 1, boot="b2")) is None
    assert readings.percent("a", reading(107, 3, boot="b2")) == 50.0


def test_a_clock_that_goes_back_begins_anew() -> None:
    readings = CpuReadings()
    readings.percent("a", reading(100, 50))
    assert readings.percent("a", reading(50, 10)) is None
    assert readings.percent("a", reading(60, 20)) == 50.0


def test_counters_that_stand_still_are_unknown() -> None:
    readings = CpuReadings()
    readings.percent("a", CpuReading("b", 1, CpuTime(10, 5)))
    assert readings.percent("a", CpuReading("b", 3, CpuTime(10, 5))) is None
    assert readings.percent("a", CpuReading("b", 5, CpuTime(30, 99))) == 0.0


def test_ready_says_whether_a_comparison_will_be_possible() -> None:
    clock = Clock()
    readings = CpuReadings(clock)
    assert not readings.ready("a")
    readings.percent("a", reading(100, 0))
    assert not readings.ready("a")
    clock.now += 1
    assert readings.ready("a")
    readings.percent("a", reading(101, 0))
    assert readings.ready("a")  # the older one serves
    clock.now += 119.5
    assert readings.ready("a")
    clock.now += 1
    assert not readings.ready("a")


def test_memory_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("opsbot.adapters.cpu_readings._MAX_HOSTS", 10)
    readings = CpuReadings()
    for n in range(100):
        readings.percent(f"h{n}", reading(100, 0))
    assert len(readings._past) <= 10
