"""Quoting: whatever the words, the host's shell gets exactly those words, and only those."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot.adapters.ssh import ParamikoShell, command_line
from opsbot.errors import BadArguments
from tests.ssh_servers import Exec, Keys, SshServer

HOSTILE = [
    "",
    " ",
    "--root=/x",
    "-Hroot@evil",
    "*",
    "~",
    "$(id)",
    "`id`",
    "${IFS}",
    "a;b",
    "a&&b",
    "a|b",
    "a\nb",
    "a\rb",
    "a\tb",
    "'",
    "''",
    '"\'"',
    "'\"'\"'",
    "\\",
    "\\'",
    "!x",
    "#x",
    "é\u202eß\u200b",
    "\x1b]52;c;AAAA\x07",
    "x" * 300,
    "../../etc/passwd",
    "nginx.service; reboot",
]

# No NUL, no surrogates: what a command line can carry.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40) | st.sampled_from(
    HOSTILE
)


def printed_by_a_real_shell(line: bytes) -> list[bytes]:
    """The words a shell makes of the line, NUL-terminated by printf."""
    done = subprocess.run(["/bin/sh", "-c", b"printf '%s\\0' " + line], capture_output=True, check=True)
    return done.stdout.split(b"\0")[:-1]


@settings(max_examples=150, deadline=None)
@given(st.lists(words, min_size=1, max_size=6).filter(lambda argv: argv[0] != ""))
def test_a_real_shell_reads_back_the_same_words(argv: list[str]) -> None:
    assert printed_by_a_real_shell(command_line(argv)) == [word.encode() for word in argv]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=20).filter(lambda raw: b"\0" not in raw), min_size=1, max_size=4))
def test_bytes_that_are_no_text_survive_as_the_file_system_spells_them(raw: list[bytes]) -> None:
    argv = ["ls", *map(os.fsdecode, raw)]
    assert printed_by_a_real_shell(command_line(argv)) == [b"ls", *raw]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ParamikoShell, SshServer]]:
    with SshServer(Keys.make(tmp_path_factory.mktemp("keys")), _echo) as server:
        shell = ParamikoShell()
        yield shell, server
        shell.close()


def _echo(exec_: Exec) -> int:
    exec_.say(exec_.line)
    return 0


def test_the_bytes_at_the_server_are_the_quoted_line_once(recorded: tuple[ParamikoShell, SshServer]) -> None:
    shell, server = recorded

    @settings(max_examples=60, deadline=None)
    @given(st.lists(words, max_size=5))
    def check(rest: list[str]) -> None:
        result = shell.run(server.host(), ["printf", *rest], timeout_s=20)
        assert server.commands[-1] == command_line(["printf", *rest])
        assert result.stdout == server.commands[-1].decode()

    check()
    assert server.connections == 1


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "no command"),
        ([""], "no command"),
        (["ls", "a\0"], "NUL"),
        (["ls", "\ud800"], "Unicode"),
        (["ls", "x" * 200_000], "200003 bytes"),
    ],
)
def test_what_a_command_line_cannot_carry_is_refused(argv: list[str], reason: str) -> None:
    with pytest.raises(BadArguments, match=reason):
        command_line(argv)
