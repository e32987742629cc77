"""Lists of hosts in text: what each line means, and what is said of a line that means nothing."""

import pytest

from opsbot.importing.findings import Hop
from opsbot.importing.places import hops_of, hops_of_command, hops_of_options, place_of
from opsbot.importing.plain import read_plain


def lines_of(text: str) -> dict[str, tuple[str, int | None, str]]:
    return {host.name: (host.address, host.port, host.user) for host in read_plain(text, "list").hosts.values()}


@pytest.mark.parametrize(
    ("line", "host"),
    [
        ("alpha", {"alpha": ("alpha", None, "")}),
        ("alpha 192.0.2.1  # the first", {"alpha": ("192.0.2.1", None, "")}),
        ("alpha ops@192.0.2.1:2222", {"alpha": ("192.0.2.1", 2222, "ops")}),
        ("alpha [2001:db8::1]:22", {"alpha": ("2001:db8::1", 22, "")}),
        ("alpha 2001:db8::1", {"alpha": ("2001:db8::1", None, "")}),
        ("ops@alpha.example.net:22", {"alpha.example.net": ("alpha.example.net", 22, "ops")}),
        ("192.0.2.9", {"192.0.2.9": ("192.0.2.9", None, "")}),
        ("192.0.2.1\talpha alpha.example.net", {"alpha": ("192.0.2.1", None, "")}),
        ("127.0.0.1 localhost", {}),
        ("ff02::1 ip6-allnodes", {}),
        ("# nothing\n\n   \n", {}),
        ("", {}),
        ("alpha beta gamma", {}),
        ("alpha :22", {}),
        ("[web]", {}),
    ],
)
def test_a_line_is_a_host_or_is_left_out(line, host):
    assert lines_of(line) == host


def test_what_is_left_out_has_its_line_and_reason():
    findings = read_plain("alpha\nalpha 192.0.2.1\nbeta x y z\n[web]\ngamma 1.2.3.4:port\n192.0.2.5 d e\n", "list")
    assert [(remark.what, remark.where, remark.why) for remark in findings.remarks] == [
        ("alpha", "list:2", "is there already (list:1)"),
        ("beta", "list:3", "has more than a name and an address in its line"),
        ("[web]", "list:4", "is no host; for groups in brackets use --from ansible"),
        ("gamma", "list:5", "'1.2.3.4:port' is no [user@]address[:port]"),
        ("e", "list:6", "is another name of 'd'"),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_with_a_header(separator):
    text = (
        "Host Name,IP Address,port,Login,groups,tags,rack\nalpha,192.0.2.1,2222,ops,web eu,edge|new,7\nbeta,192.0.2.2\n"
    )
    findings = read_plain(text.replace("Host Name", "hostname").replace(",", separator), "t.csv")
    alpha, beta = findings.hosts.values()
    assert (alpha.address, alpha.port, alpha.user) == ("192.0.2.1", 2222, "ops")
    assert (alpha.groups, alpha.tags) == (("web", "eu"), ("edge", "new"))
    assert (beta.address, beta.port, beta.groups) == ("192.0.2.2", None, ())
    assert [remark.what for remark in findings.remarks] == ["rack"]


@pytest.mark.parametrize("row", ["a,192.0.2.1,x", "a,192.0.2.1,22,more", ",192.0.2.1,22", 'a,"192', "a,b,999999"])
def test_a_row_that_does_not_fit_is_left_out(row):
    findings = read_plain(f"name,address,port\n{row}\n", "t.csv")
    assert findings.hosts == {}
    assert [remark.where for remark in findings.remarks] == ["t.csv:2"]


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("ssh://ops@alpha:22", Hop("alpha", "ops", 22)),
        ("a b", None),
        ("alpha:", None),
        ("@alpha", None),
        ("", None),
        ("ops@[fe80::1%eth0]:22", Hop("fe80::1%eth0", "ops", 22)),
        ("%h", None),
    ],
)
def test_places(text, hop):
    assert place_of(text) == hop


@pytest.mark.parametrize(
    ("arguments", "hops"),
    [
        ("-J ops@alpha:2222", (Hop("alpha", "ops", 2222),)),
        ("-C -Jalpha,beta", (Hop("alpha"), Hop("beta"))),
        ("-o ProxyJump=alpha -o StrictHostKeyChecking=no", (Hop("alpha"),)),
        ("-oProxyJump=alpha", (Hop("alpha"),)),
        ('-o "ProxyJump alpha"', (Hop("alpha"),)),
        ("""-o ProxyCommand="ssh -q -W %h:%p -p 23 ops@alpha" """, (Hop("alpha", "ops", 23),)),
        ("-o ProxyCommand=none", ()),
        ("-o ControlMaster=auto -C", ()),
        ("", ()),
        ("-o ProxyCommand='nc -X 5 %h %p'", None),
        ("-o ProxyCommand='ssh alpha nc %h %p'", None),
        ("-o ProxyCommand='ssh -W %h:%p -i key alpha'", None),
        ("-J '", None),
        ("-J", None),
    ],
)
def test_jumps_in_options_of_ssh(arguments, hops):
    assert hops_of_options(arguments) == hops


def test_no_jump_is_not_an_unreadable_one():
    assert hops_of("none") == hops_of_command("none") == ()
    assert hops_of("a,,b") is None
