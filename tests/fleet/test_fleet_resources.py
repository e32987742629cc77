"""Disks, kernel messages and package updates on real hosts, healthy and in trouble."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from opsbot_tools.disk_usage import disk_usage
from opsbot_tools.kernel_messages import kernel_messages
from opsbot_tools.package_updates import package_updates

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.domain import Host

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

TOOLS = (disk_usage, kernel_messages, package_updates)


@pytest.fixture
def machines() -> Iterator[HostMachines]:
    """A pool of its own for each test: a fault of one is not remembered in the next."""
    machines = HostMachines(ParamikoShell(), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def ctx(machines) -> Callable[..., Context]:
    return lambda timeout_s=30.0: Context(machines, timeout_s=timeout_s)


@pytest.fixture
def h1(fleet_hosts) -> Host:
    return fleet_hosts["h1"]


def root_of(answer: dict) -> dict:
    return next(each for each in answer["file_systems"] if each["mount"] == "/")


def test_a_large_file_is_found_with_its_directory(ctx, h1, as_root):
    as_root("h1", "sh", "-c", "mkdir -p /run/logs/app && head -c 60000000 /dev/zero > /run/logs/app/big.log")
    try:
        answer = disk_usage.function(ctx(), h1, "/run/logs")
    finally:
        as_root("h1", "rm", "-rf", "/run/logs")
    assert answer["below"]["directories"][0]["path"] == "/run/logs/app"
    (file,) = answer["below"]["files"]
    assert (file["path"], file["bytes"] // 1_000_000) == ("/run/logs/app/big.log", 60)


def test_a_full_disk_comes_first_and_says_so(ctx, h1, fault):
    fault("h1", "diskfull")
    answer = disk_usage.function(ctx(), h1)
    assert answer["file_systems"][0]["mount"] == "/"
    assert root_of(answer)["used_percent"] == 100
    assert disk_usage.table({"h1": answer}).rows[0][-1] == "full"


def test_a_full_memory_file_system_is_shown_and_looked_below(ctx, h1, fault):
    fault("h1", "diskfull", "/srv/data")
    answer = disk_usage.function(ctx(), h1, "/srv/data")
    full = next(each for each in answer["file_systems"] if each["mount"] == "/srv/data")
    assert full["used_percent"] == 100
    assert answer["below"]["path"] == "/srv/data"


def test_a_path_that_is_not_there_is_said_not_to_be(ctx, h1):
    assert disk_usage.function(ctx(), h1, "/nowhere")["below"]["remark"] == "there is no such directory"


def test_pending_updates_and_a_due_reboot_are_told(ctx, h1, as_root):
    """A package repository in a folder of the host: the only kind it can reach."""
    release = as_root("h1", "dpkg-query", "-W", "-f", "${Version}", "nginx-light").strip()
    fields = f"Version: {release}.99\nArchitecture: all\nFilename: ./x.deb\nSize: 1\nSHA256: {'0' * 64}"
    stanza = f"Package: nginx-light\n{fields}\n"
    as_root("h1", "sh", "-c", f"mkdir -p /srv/repo && printf '%s' '{stanza}' > /srv/repo/Packages")
    source = "deb [trusted=yes] file:/srv/repo ./"
    as_root("h1", "sh", "-c", f"echo '{source}' > /etc/apt/sources.list.d/opsbot.list")
    try:
        options = ("-o", "Dir::Etc::sourcelist=/dev/null", "-o", "APT::Sandbox::User=root")
        as_root("h1", "apt-get", "-q", "update", *options)
        as_root("h1", "sh", "-c", "touch /run/reboot-required; echo libc6 > /run/reboot-required.pkgs")
        answer = package_updates.function(ctx(), h1)
    finally:
        clean = (
            "rm -rf /srv/repo /etc/apt/sources.list.d/opsbot.list /run/reboot-required* /var/lib/apt/lists/*srv_repo*"
        )
        as_root("h1", "sh", "-c", clean)
    assert (answer["pending"], answer["updates"][0]["name"]) == (1, "nginx-light")
    assert answer["updates"][0]["to"] == f"{release}.99"
    assert answer["lists_age_s"] < 3600
    assert (answer["reboot_required"], answer["reboot_because"]) == (True, ["libc6"])


def test_kernel_messages_of_the_journal_are_read_and_a_user_without_rights_is_told(ctx, h1, fleet_hosts, as_root):
    """A container has no kernel log of its own: what nobody may read must not look like health."""
    answer = kernel_messages.function(ctx(), h1)
    assert "no kernel messages at all" in answer["not_read"]
    viewer = kernel_messages.function(ctx(), replace(h1, user="viewer"))
    assert "may read neither" in viewer["not_read"]


def test_a_hung_service_manager_costs_no_answer(ctx, h1, fault):
    ctx().vitals(h1)  # systemd has to let a new session in, so the connection must be there
    fault("h1", "pid1-hang")
    for tool in TOOLS:
        assert tool.function(ctx(), h1)
