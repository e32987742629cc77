"""The parser of the status script, on what real hosts printed and on broken variants of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.hostfacts import MAX_BYTES, Probe, cpu_time, failed_units, parse, parse_vitals, worth_showing
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.domain import Host
from opsbot.errors import CommandFailed
from tests.recordings import RecordingShell, ReplayShell, recorded_output

OUTPUT = recorded_output("debian-12", "LC_ALL=C; export LC_ALL")


def without(section: str, text: str = OUTPUT) -> str:
    """The output with one section's content gone, as when a file or command is missing."""
    head, _, tail = text.partition(f"@@opsbot {section}\n")
    return f"{head}@@opsbot {section}\n\n@@opsbot {tail.partition('@@opsbot ')[2]}"


@pytest.mark.parametrize(
    ("release", "os", "root_used"),
    [("debian-12", "Debian GNU/Linux 12 (bookworm)", None), ("debian-13", "Debian GNU/Linux 13 (trixie)", 17063936)],
)
def test_a_recorded_host_is_read_whole(release, os, root_used):
    facts = parse(recorded_output(release, "LC_ALL=C; export LC_ALL"))
    assert (facts.hostname, facts.os, facts.cpus) == ("h1", os, 2)
    assert facts.memory_total_bytes == 24683656 * 1024
    assert 0 < facts.memory_available_bytes < facts.memory_total_bytes
    assert (facts.swap_total_bytes, facts.swap_used_bytes) == (0, 0)
    assert facts.uptime_s > 5
    assert len(facts.boot_id) == 36
    assert facts.failed_units == ("brittle.service",)
    assert facts.cpu_percent is not None
    assert 0 <= facts.cpu_percent <= 100
    assert [disk.mount for disk in facts.disks] == ["/", "/tmp", "/srv/data"]
    root = facts.disks[0]
    assert (root.size_bytes, root.inodes) == (536870912, 3085457)
    assert root.available_bytes == root.size_bytes - root.used_bytes
    assert root_used is None or root.used_bytes == root_used


def test_cpu_percent_is_the_busy_share_between_the_samples():
    text = "@@opsbot stat\ncpu 100 0 100 800 0 0 0 0 9 9\n@@opsbot stat_later\ncpu 130 0 110 855 5 0 0 0 99 99\n"
    rest = OUTPUT[OUTPUT.index("\n@@opsbot hostname") :]
    assert parse(text + rest).cpu_percent == 40.0  # 40 of 100 ticks; guest time is in user time already


def test_no_systemd_means_failed_units_are_unknown():
    text = OUTPUT[: OUTPUT.index("@@opsbot failed")] + "@@opsbot end\n"
    assert parse(text).failed_units is None


def test_a_systemd_that_did_not_answer_means_unknown_not_none_failed():
    text = OUTPUT.replace("@@opsbot failed_status\n0", "@@opsbot failed_status\n124")
    assert parse(text).failed_units is None


@pytest.mark.parametrize("section", ["stat", "boot_id", "os", "hostname", "cpus", "mounts", "df", "df_inodes"])
def test_a_missing_part_does_not_spoil_the_rest(section):
    facts = parse(without(section))
    assert facts.memory_total_bytes == 24683656 * 1024
    if section == "df_inodes":
        assert {disk.inodes for disk in facts.disks} == {None}


@pytest.mark.parametrize("section", ["meminfo", "loadavg", "uptime"])
def test_an_output_without_the_essentials_is_refused_not_guessed(section):
    with pytest.raises(CommandFailed, match="load, memory and uptime"):
        parse(without(section))


def test_a_load_that_is_no_number_is_refused():
    with pytest.raises(CommandFailed):
        parse(without("loadavg").replace("@@opsbot loadavg\n", "@@opsbot loadavg\nnan inf 0.1 1/2 3\n"))


def test_memory_available_is_estimated_where_the_kernel_does_not_say():
    line = next(line for line in OUTPUT.splitlines() if line.startswith("MemAvailable"))
    figures = {
        words.split()[0]: int(words.split()[1])
        for words in OUTPUT.splitlines()
        if words.startswith(("Mem", "Buf", "Cac"))
    }
    expected = (figures["MemFree:"] + figures["Buffers:"] + figures["Cached:"]) * 1024
    assert parse(OUTPUT.replace(line + "\n", "")).memory_available_bytes == expected


def test_the_header_tells_the_unit_of_df():
    table = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 2048 1024 512 67% /mnt/my disk"
    text = without("df").replace("@@opsbot df\n", f"@@opsbot df\n{table}\n")
    text = text.replace("@@opsbot mounts\n", "@@opsbot mounts\n/mnt/my\\040disk ext4\n")
    (disk,) = parse(text).disks
    assert (disk.mount, disk.size_bytes, disk.available_bytes) == ("/mnt/my disk", 2048 * 1024, 512 * 1024)


@pytest.mark.parametrize(
    ("mount", "fstype", "expected"),
    [
        ("/", "ext4", True),
        ("/", "overlay", True),
        ("/srv/data", "tmpfs", True),
        ("/boot/efi", "vfat", True),
        ("/run/user/0", "tmpfs", False),
        ("/running", "xfs", True),
        ("/proc", "proc", False),
        ("/mnt/share", "nfs4", False),
        ("/snap/core/1", "squashfs", False),
        ("/var/lib/docker/overlay2/x/merged", "overlay", False),
        ("/home/x/gvfs", "fuse.gvfsd-fuse", False),
    ],
)
def test_only_file_systems_that_hold_data_here_are_shown(mount, fstype, expected):
    assert worth_showing(mount, fstype) is expected


def test_failed_units_are_read_with_and_without_bullets():
    listing = "● a.service loaded failed failed A\nb.service loaded failed failed B\n\n"
    assert failed_units(listing) == ("a.service", "b.service")


@given(st.data())
def test_any_damage_to_the_output_is_read_or_refused(data):
    start = data.draw(st.integers(0, len(OUTPUT)))
    end = data.draw(st.integers(start, len(OUTPUT)))
    junk = data.draw(st.text(max_size=40))
    try:
        facts = parse(OUTPUT[:start] + junk + OUTPUT[end:])
    except CommandFailed:
        return
    assert all(disk.size_bytes > 0 for disk in facts.disks)


# --- the probes, recorded as commands of their own -------------------------------------------------------------------

RELEASES = ("debian-12-vitals", "debian-13-vitals")


class AskedFor(ReplayShell):
    """Tells the probes' scripts apart, which begin with the same line: they end with the name of the probe."""

    def run(self, host, argv, **options):
        return super().run(host, _named(argv), **options)


class RecordingProbes(RecordingShell):
    def run(self, host, argv, **options):
        result = super().run(host, argv, **options)
        self._results[_named(argv)] = self._results.pop(tuple([*argv[:2], argv[2].splitlines()[0]]))
        return result


def _named(argv):
    return ("probe", argv[2].strip().splitlines()[-2])


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_vitals_and_facts_are_of_one_machine(release):
    machines, host = HostMachines(AskedFor(release), LocalShell()), Host("h1")
    vitals = machines.vitals(host, timeout_s=1)
    facts = machines.facts(host, timeout_s=1)
    assert vitals.boot_id == facts.boot_id
    assert len(vitals.boot_id) == 36
    assert vitals.memory_total_bytes == facts.memory_total_bytes > 2**30
    assert 0 < vitals.memory_available_bytes < vitals.memory_total_bytes
    assert (vitals.swap_total_bytes, vitals.swap_used_bytes) == (0, 0)
    assert vitals.cpu_percent is None  # nothing to compare it with
    assert 0 <= facts.cpu_percent <= 100
    assert facts.os.startswith("Debian GNU/Linux " + release[7:9])
    assert [disk.mount for disk in facts.disks] == ["/", "/tmp", "/srv/data"]


VITALS = AskedFor("debian-12-vitals").run(Host("h1"), Probe.VITALS.argv, timeout_s=1).stdout


@given(st.integers(0, len(VITALS) - 1))
def test_vitals_cut_anywhere_are_refused_not_guessed(length):
    if "vitals_end" not in VITALS[:length]:
        with pytest.raises(CommandFailed):
            parse_vitals(VITALS[:length])


@given(st.text())
def test_no_text_breaks_the_vitals_parser(text):
    with pytest.raises(CommandFailed):
        parse_vitals(text)
    assert cpu_time(text) is None


@pytest.mark.parametrize("section", ["meminfo", "loadavg", "uptime"])
def test_vitals_without_the_essentials_are_refused(section):
    with pytest.raises(CommandFailed, match="load, memory and uptime"):
        parse_vitals(without(section, VITALS))


def test_vitals_without_a_boot_id_or_cpu_counters_are_vitals_still():
    assert parse_vitals(without("boot_id", VITALS)).boot_id == ""
    assert cpu_time(without("stat", VITALS)) is None
    assert parse_vitals(VITALS.replace("@@opsbot boot_id\n", "@@opsbot boot_id\n\x1b[2J")).boot_id.isprintable()


def record(name: str, host_name: str) -> None:
    """Ask a fleet host each question once: `python -m tests.tools.test_hostfacts_recorded debian-12 h2`."""
    fleet = Path(__file__).parents[1] / "fleet" / "fleet"
    inventory = json.loads(subprocess.check_output([fleet, "inventory"]))
    address = next(each["addr"] for each in inventory["hosts"] if each["name"] == host_name)
    lines = Path(inventory["known_hosts"]).read_text().splitlines()
    pin = next(line.split(" ", 1)[1] for line in lines if address in line.split(" ", 1)[0].split(","))
    host = Host(host_name, address=address, user="bot", key_file=inventory["key"], host_key=pin)
    recording = RecordingProbes(ParamikoShell())
    for probe in (Probe.VITALS, Probe.FACTS_SAMPLED):
        recording.run(host, probe.argv, timeout_s=30, max_bytes=MAX_BYTES)
    recording.save(f"{name}-vitals", distribution=name)
    recording.close()


if __name__ == "__main__":
    record(*sys.argv[1:3])
