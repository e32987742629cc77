"""Any text at all: an import has hosts, remarks, or one clear refusal; never anything else."""

import string
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.errors import ConfigError
from opsbot.importing.ansible import read_ansible
from opsbot.importing.findings import Files, Findings
from opsbot.importing.plain import read_plain
from opsbot.importing.settled import Wanted, settle
from opsbot.importing.ssh_config import read_ssh_config
from opsbot.importing.written import inventory_text, rows

_PIECES = st.sampled_from(
    [
        "[web]\n",
        "[web:vars]\n",
        "[a:children]\n",
        "[1:3]",
        "[a:c:2]",
        "=",
        "'",
        '"',
        "\\",
        ":",
        ": ",
        "\n",
        "\n  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "<<: ",
        "!vault |\n",
        "!x ",
        "hosts:",
        "children:",
        "vars:",
        "all:",
        "_meta:",
        "ansible_host",
        "ansible_port",
        "ansible_ssh_common_args",
        "-J ",
        "-o ",
        "ProxyCommand=",
        "ssh -W %h:%p ",
        "Host ",
        "Match ",
        "Include ",
        "HostName ",
        "ProxyJump ",
        "Port ",
        "*",
        "!",
        "?",
        "%h",
        "~",
        "#",
        ",",
        ";",
        "\t",
        "name,address\n",
        "192.0.2.1",
        "::1",
        "web",
        "\x00",
        "\x1b[31m",
        "\u2028",
        "\r",
        "\ud7ff",
        "1e9",
        "{{ x }}",
        "$",
    ]
)
_TEXTS = st.lists(_PIECES | st.text(string.printable, max_size=4), max_size=30).map("".join)


def finish(findings: Findings) -> None:
    imported = settle(findings, Wanted(), one_name_each=True)
    text = inventory_text(imported, "any") + "".join("".join(row) for row in rows(imported.remarks))
    assert all(character == "\n" or character.isprintable() for character in text)


@given(_TEXTS)
def test_any_list(text):
    finish(read_plain(text, "any"))


@given(_TEXTS, st.sampled_from(["hosts", "hosts.yml", "hosts.json"]))
def test_any_inventory_of_ansible(tmp_path_factory, text, name):
    path = written(tmp_path_factory, name, text)
    with suppress(ConfigError):  # any other exception fails the test
        finish(read_ansible(path, Files()))


@given(_TEXTS)
def test_any_configuration_of_openssh(tmp_path_factory, text):
    path = written(tmp_path_factory, "config", text)
    with suppress(ConfigError):
        finish(read_ssh_config(path, Files()))


def written(factory: pytest.TempPathFactory, name: str, text: str) -> Path:
    path = factory.mktemp("any") / name
    path.write_text(text, encoding="utf-8", newline="")
    return path
