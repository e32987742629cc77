"""Disks, kernel messages and package updates: the cases a recorded host did not show."""

import pytest
from opsbot_tools.disk_usage import disk_usage, parse_disk_usage
from opsbot_tools.kernel_messages import kernel_messages, parse_kernel_messages
from opsbot_tools.package_updates import package_updates, parse_package_updates

from opsbot.context import Context
from opsbot.domain import Host
from opsbot.errors import BadArguments
from tests.fake_machines import FakeMachines

HEADER = "Filesystem Type 1K-blocks Used Avail Use% Inodes IUsed Mounted on\n"


def out(**parts: str) -> str:
    return "".join(f"\n@@opsbot {head}\n{body}" for head, body in parts.items()) + "\n@@opsbot end\n"


# --- disks -----------------------------------------------------------------------------------------------------------


def disks(df: str, mounts: str = "", below: str = "", **parts: str) -> dict:
    text = f"\n@@opsbot mounts\n{mounts}\n@@opsbot df\n{HEADER}{df}"
    text += f"\n@@opsbot below {below}" if below else ""
    return parse_disk_usage(text + out(**parts))


def test_the_fullest_comes_first_and_percents_are_those_of_df():
    found = disks(
        "/dev/sda1 ext4 1000 100 800 12% 100 1 /\n/dev/sdb1 ext4 1000 899 1 100% 100 99 /srv\n"
        "/dev/sdc xfs 10 5 5 50% 0 0 /x\n"
    )
    assert [(each["mount"], each["used_percent"]) for each in found["file_systems"]] == [
        ("/srv", 100),
        ("/x", 50),
        ("/", 12),
    ]
    assert [each["inodes_used_percent"] for each in found["file_systems"]] == [99, None, 1]


def test_pseudo_file_systems_and_second_mounts_are_left_out_and_full_memory_is_not():
    found = disks(
        "/dev/loop1 squashfs 10 10 0 100% 5 5 /snap/x\n/dev/sda1 ext4 100 50 50 50% 9 1 /\n"
        "/dev/sda1 ext4 100 50 50 50% 9 1 /var/bind\ntmpfs tmpfs 100 99 1 99% 9 1 /run\n"
        "tmpfs tmpfs 100 1 99 1% 9 1 /tmp\n"
        "overlay overlay 100 99 1 99% 9 1 /var/lib/docker/overlay2/x/merged\n"
    )
    assert [each["mount"] for each in found["file_systems"]] == ["/run", "/"]


def test_read_only_and_blanks_in_mount_points():
    found = disks(
        "/dev/sdb ext4 100 50 50 50% 9 1 /srv/my data\n",
        mounts="/dev/sdb /srv/my\\040data ext4 ro,relatime 0 0\n",
    )
    (only,) = found["file_systems"]
    assert (only["mount"], only["read_only"]) == ("/srv/my data", True)
    assert "read-only" in disk_usage.table({"a": found}).rows[0][-1]


def test_a_network_mount_that_does_not_answer_is_named():
    found = parse_disk_usage(f"\n@@opsbot df\n{HEADER}/dev/sda ext4 10 5 5 50% 9 1 /\n" + out(silent="/mnt/nfs\n"))
    assert found["silent"] == ["/mnt/nfs"]
    assert ("a", "/mnt/nfs", "", "", "", "", "does not answer") in disk_usage.table({"a": found}).rows


def test_the_short_form_of_df_is_read_too():
    header = "Filesystem Type 1024-blocks Used Available Capacity Mounted on"
    text = f"\n@@opsbot df\n{header}\n/dev/sda1 ext4 100 90 10 90% /\n"
    (only,) = parse_disk_usage(text)["file_systems"]
    assert (only["used_percent"], only["inodes_used_percent"]) == (90, None)


DU = "\t@@end {lost} {status}\n".format
ALL = "9000\t/var\n8900\t/var/lib\n8800\t/var/lib/db\n100\t/var/lib/x\n90\t/home\n9200\t/\n999999999999999"


def below(du: str, **parts: str) -> dict:
    return disks("", below=f"/\n{du}", **parts)["below"]


def test_a_parent_that_is_nearly_all_one_child_is_left_out():
    found = below(ALL + DU(lost=0, status=0))
    assert [each["path"] for each in found["directories"]] == ["/var/lib/db", "/var/lib/x", "/home"]


def test_what_no_file_accounts_for_is_told_only_if_all_was_counted():
    used = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 50000 20000 30000 40% /\n"
    whole = below(ALL + DU(lost=0, status=0), used=used)
    assert whole["unaccounted_bytes"] == (20000 - 9200) * 1024
    assert "deleted files" in whole["remark"]
    for broken in (DU(lost=3, status=1), DU(lost=0, status=124)):
        assert below(ALL + broken, used=used)["unaccounted_bytes"] is None


def test_a_search_that_was_cut_says_so_and_keeps_what_it_found():
    found = below(ALL + DU(lost=0, status=124), files="70000\t/var/big\n@@status 124\n")
    assert "took too long" in found["remark"]
    assert "large files: searched in part" in found["remark"]
    assert found["files"] == [{"path": "/var/big", "bytes": 70000 * 1024}]
    assert found["directories"]


def test_names_with_control_characters_are_made_plain():
    found = below("50\t/x\x1b[31mred\x07\n999999999999999" + DU(lost=0, status=0))
    assert found["directories"][0]["path"] == "/xred"


@pytest.mark.parametrize("path", ["etc", "/a/../b", "/a\nb", "-x", "", "/" + "x" * 1024])
def test_only_plain_absolute_paths_are_looked_below(path):
    machines = FakeMachines()
    with pytest.raises(BadArguments):
        disk_usage.function(Context(machines, timeout_s=5), Host("a"), path)


# --- kernel messages -------------------------------------------------------------------------------------------------

NOW = 1_790_000_000
OOM = "Out of memory: Killed process {} (java) total-vm:8000kB, anon-rss:700kB"


def kernel(journal: str = "", dmesg: str = "", **parts: str) -> dict:
    return parse_kernel_messages(out(now=f"{NOW}\n1000.0 1.0\n", journal=journal, dmesg=dmesg, **parts), 24)


def line(ago: int, text: str) -> str:
    return f"{NOW - ago}.5 box kernel: {text}\n"


def test_messages_are_grouped_by_what_differs_only_in_numbers_the_worst_first():
    journal = (
        "@@lines\n@@readable\n"
        + line(300, "eth0: Link is Down")
        + line(200, OOM.format(11))
        + line(100, OOM.format(12))
    )
    found = kernel(journal + line(50, "EXT4-fs error (device sda1): ext4_find_entry") + "@@status 0\n")
    assert [(each["kind"], each["count"]) for each in found["messages"]] == [
        ("out of memory", 2),
        ("file system", 1),
        ("network", 1),
    ]
    assert "process 12" in found["messages"][0]["text"]
    assert found["messages"][0]["first"] < found["messages"][0]["last"]
    assert found["not_read"] == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("blk_update_request: I/O error, dev sdb, sector 12", "disk"),
        ("ata3.00: failed command: READ FPDMA QUEUED", "disk"),
        ("nvme nvme0: I/O 12 QID 3 timeout, aborting", "disk"),
        ("EXT4-fs (sda1): Remounting filesystem read-only", "file system"),
        ("XFS (dm-0): Corruption detected. Unmount and run xfs_repair", "file system"),
        ("mce: [Hardware Error]: Machine check events logged", "hardware"),
        ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0", "hardware"),
        ("INFO: task kworker/0:1:33 blocked for more than 120 seconds.", "hang"),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s!", "hang"),
        ("worker[99]: segfault at 0 ip 0000 sp 0000 error 4 in libc.so", "crash"),
        ("nf_conntrack: nf_conntrack: table full, dropping packet", "limit"),
        ("NETDEV WATCHDOG: eth0 (r8169): transmit queue 0 timed out", "network"),
        ("Memory cgroup out of memory: Killed process 9 (x) total-vm:1kB", "out of memory"),
    ],
)
def test_each_kind_is_known_by_its_words(text, kind):
    found = kernel("@@lines\n" + line(1, text) + "@@status 0\n")
    assert [each["kind"] for each in found["messages"]] == [kind]


def test_ordinary_lines_are_not_trouble():
    ordinary = ["eth0: Link is Up", "EXT4-fs (sda1): mounted filesystem", "Command line: rcu_cpu_stall_timeout=60"]
    found = kernel("@@lines\n" + "".join(line(1, text) for text in ordinary) + "@@status 0\n")
    assert found["messages"] == []


def test_the_ring_buffer_is_read_where_the_journal_has_none_and_old_lines_do_not_count():
    found = kernel("@@readable\n@@status 0\n", f"[  900.0] {OOM.format(5)}\n@@status 0\n")
    assert [each["count"] for each in found["messages"]] == [1]
    assert found["source"] == "kernel's ring buffer"
    old = parse_kernel_messages(
        out(now=f"{NOW}\n900000.0 1\n", journal="", dmesg=f"[  5.0] {OOM.format(5)}\n@@status 0\n"), 24
    )
    assert old["messages"] == []


def test_silence_without_rights_is_not_health():
    found = kernel("@@status 1\n", "@@status 1\n")
    assert "may read neither" in found["not_read"]
    assert kernel_messages.table({"a": found}).rows == (("a", "not read", "", "", found["not_read"]),)
    healthy = kernel("@@lines\n@@status 0\n")
    assert kernel_messages.table({"a": healthy}).rows == (("a", "nothing", "0", "", "read from the journal"),)


def test_a_journal_that_took_too_long_is_said_to_be_read_in_part():
    assert "only its newer part" in kernel("@@lines\n@@status 124\n")["not_read"]


def test_services_killed_for_memory_are_known_without_any_right():
    found = kernel(
        cgroups="/sys/fs/cgroup/system.slice/db.service/memory.events:oom_kill 3\nrubbish\n",
        units="Id=db.service\nResult=oom-kill\nInactiveEnterTimestamp=Sun 2026-11-22 03:00:00 UTC\n--\n"
        "Id=web.service\nResult=oom-kill\n--\nId=fine.service\nResult=success\n",
    )
    assert found["units_killed_for_memory"] == [
        {"unit": "db.service", "count": 3, "last": "2026-11-22T03:00:00+00:00"},
        {"unit": "web.service", "count": None, "last": None},
    ]
    assert kernel_messages.table({"a": found}).rows[0][:3] == ("a", "out of memory", "3")


# --- package updates -------------------------------------------------------------------------------------------------

APT = (
    "Inst libc6 [2.36-9+deb12u9] (2.36-9+deb12u10 Debian:12.9/stable [amd64])\n"
    "Inst openssl [3.0.15-1] (3.0.17-1 Debian-Security:12/stable-security [amd64]) []\n"
    "Inst linux-image-6.1.0-31-amd64 (6.1.128-1 Debian:12.9/stable [amd64])\n@@status 0\n"
)


def updates(**parts: str) -> dict:
    return parse_package_updates(out(now=f"{NOW}\n", **parts))


def test_updates_are_listed_security_first_and_new_packages_are_no_updates():
    found = updates(apt=APT, lists=f"{NOW - 3600}\n", unattended='APT::Periodic::Unattended-Upgrade "1";\n')
    assert (found["pending"], found["security"], found["lists_age_s"]) == (2, 1, 3600)
    assert found["updates"][0] == {"name": "openssl", "from": "3.0.15-1", "to": "3.0.17-1", "security": True}
    assert found["unattended_upgrades"] is True


def test_a_long_list_is_bounded_and_says_so():
    many = "".join(f"Inst p{n} [1] (2 Debian:12 [amd64])\n" for n in range(100)) + "@@status 0\n"
    found = updates(apt=many, lists=f"{NOW}\n")
    assert (found["pending"], len(found["updates"]), found["not_shown"]) == (100, 30, 70)
    assert "70 more" in package_updates.table({"a": found}).title


def test_what_apt_cannot_say_is_unknown_with_its_reason():
    found = updates(apt="E: The package lists are corrupt.\n@@status 100\n", lists=f"{NOW}\n")
    assert (found["pending"], found["not_known"]) == (None, "The package lists are corrupt.")
    assert updates(apt="@@status 124\n")["not_known"] == "apt did not answer in time"
    assert updates()["not_known"] == "neither apt nor dnf is there"


def test_no_updates_with_lists_is_none_and_old_lists_are_named():
    found = updates(apt="@@status 0\n", lists=f"{NOW - 30 * 86400}\n")
    assert found["pending"] == 0
    assert "30d 0h old" in package_updates.table({"a": found}).rows[0][-1]


def test_a_reboot_is_due_by_the_flag_or_by_a_newer_kernel():
    flagged = updates(apt=APT, reboot="required\nlibc6\nlinux-image\n", kernels="6.1.0-30-amd64\n6.1.0-30-amd64\n")
    assert (flagged["reboot_required"], flagged["reboot_because"]) == (True, ["libc6", "linux-image"])
    newer = updates(apt=APT, kernels="6.1.0-30-amd64\n6.1.0-31-amd64\n")
    assert (newer["reboot_required"], newer["reboot_because"]) == (True, ["kernel 6.1.0-31-amd64"])
    assert package_updates.table({"a": newer}).rows[0][-1].startswith("reboot required by kernel")


def test_half_installed_and_held_packages_are_named():
    found = updates(apt="@@status 0\n", lists=f"{NOW}\n", held="nginx\n", broken=" postfix  Mail server\n")
    assert (found["held"], found["broken"]) == (["nginx"], ["postfix"])
    assert "half installed: postfix" in package_updates.table({"a": found}).rows[0][-1]


def test_dnf_answers_by_its_exit_status():
    text = "\nopenssl.x86_64   1:3.0.7-28.el9   baseos\nbash.x86_64 5.1.8-9.el9 baseos\n"
    text += "Obsoleting Packages\nx.noarch 1 y\n"
    found = updates(dnf=f"{text}@@status 100\n", security="RHSA-1 Important/Sec. openssl-3.0.7-28.el9.x86_64\n")
    assert [(each["name"], each["security"]) for each in found["updates"]] == [("openssl", True), ("bash", False)]
    assert updates(dnf="@@status 1\n")["pending"] is None
