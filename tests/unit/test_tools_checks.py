"""The checks as the model and people see them: only what the inventory lists, the failed first, bounded, honest."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.certificate_expiry import certificate_expiry
from opsbot_tools.checks import dns_check, http_check, parse_lookups, tcp_check

from opsbot.context import Context
from opsbot.domain import Certificate, CertificateReport, CheckResult, CommandResult, HealthCheck, Host
from opsbot.errors import ToolError
from opsbot.tooling import Unit
from tests.fake_machines import FakeMachines

HEALTH = {
    "shop": HealthCheck(url="http://192.0.2.1/health"),
    "cart.service": HealthCheck(url="http://192.0.2.1/cart"),
    "cache": HealthCheck(tcp="192.0.2.1:6379"),
}
HOST = Host("box-1", health=HEALTH, dns_names=("db.test", "mq.test"))
NOW = datetime.now(UTC)


def context(machines: FakeMachines) -> Context:
    return Context(machines, timeout_s=20)


def as_the_model_sees_it(result: object):
    return json.loads(json.dumps(result, allow_nan=False))


@pytest.fixture
def machines() -> FakeMachines:
    fake = FakeMachines()
    fake.seen_from_bot = {
        ("box-1", "shop"): CheckResult(
            "GET http://192.0.2.1/health",
            latency_ms=12.3,
            status=302,
            body_bytes=0,
            tls_not_after=NOW + timedelta(days=9, hours=12),
            redirect_host="login.test",
        ),
        ("box-1", "cart.service"): CheckResult(
            "GET http://192.0.2.1/cart", "GET http://192.0.2.1/cart answered 503", status=503, latency_ms=3.0
        ),
        ("box-1", "cache"): CheckResult("192.0.2.1:6379", latency_ms=0.4),
    }
    return fake


# --- http_check and tcp_check ----------------------------------------------------------------------------------------


def test_failed_checks_come_first_and_redirects_are_named(machines):
    result = as_the_model_sees_it(http_check.function(context(machines), HOST))
    assert [(entry["unit"], entry["passed"], entry["status"]) for entry in result["checks"]] == [
        ("cart.service", False, 503),
        ("shop", True, 302),
    ]
    assert (result["checks"][1]["redirects_to"], result["checks"][1]["tls_days_left"]) == ("login.test", 9)
    assert http_check.table({"box-1": result}).rows == (
        ("box-1", "cart.service", "GET http://192.0.2.1/cart answered 503", "3 ms", ""),
        (
            "box-1",
            "shop",
            "passed (302)",
            "12 ms",
            "GET http://192.0.2.1/health; redirects to login.test (not followed); certificate ends in 9 days",
        ),
    )


def test_tcp_checks_are_apart_from_http_checks(machines):
    result = tcp_check.function(context(machines), HOST)
    assert [entry["unit"] for entry in result["checks"]] == ["cache"]
    assert tcp_check.table({"box-1": result}).rows[0][:4] == ("box-1", "cache", "passed", "0 ms")


@pytest.mark.parametrize("unit", ["shop.service", "shop", "cart.service"])
def test_one_services_check_is_found_however_its_name_is_written(machines, unit):
    result = http_check.function(context(machines), HOST, Unit(unit))
    assert [entry["unit"].removesuffix(".service") for entry in result["checks"]] == [unit.removesuffix(".service")]


@pytest.mark.parametrize(("tool", "there"), [(http_check, "shop, cart.service"), (tcp_check, "cache")])
def test_a_service_without_such_a_check_is_refused_with_those_there_are(machines, tool, there):
    with pytest.raises(ToolError, match=f"no such check for nope.service on box-1; there are: {there}"):
        tool.function(context(machines), HOST, Unit("nope.service"))


def test_a_host_without_checks_says_so(machines):
    result = http_check.function(context(machines), Host("box-2"))
    assert result == {"checks": []}
    assert http_check.table({"box-2": result}).rows[0][2] == "no such check in the inventory"


@pytest.mark.parametrize("tool", [http_check, tcp_check, dns_check, certificate_expiry])
def test_nobody_but_the_inventory_names_an_address(tool):
    """A free URL, name or path would let the model reach into networks (T27)."""
    assert {parameter.name for parameter in tool.parameters} <= {"unit"}
    assert all(parameter.is_unit for parameter in tool.parameters)
    assert (tool.risk, tool.deferred) == ("read", True)


# --- certificate_expiry ----------------------------------------------------------------------------------------------


def certificate(days: float, **changes) -> Certificate:
    values = {
        "subject": "shop.test",
        "issuer": "Test CA",
        "names": tuple(f"{n}.shop.test" for n in range(9)),
        "not_before": NOW - timedelta(days=10),
        "not_after": NOW + timedelta(days=days, hours=12),
        "key": "EC secp256r1",
        "sha256": "ab" * 32,
    }
    return Certificate(**(values | changes))


def report(place: str, days: float, *problems: str, **kwargs) -> CertificateReport:
    return CertificateReport(place, chain=(certificate(days),), problems=problems, **kwargs)


def test_the_next_to_expire_comes_first_on_every_host():
    machines = FakeMachines()
    machines.certificate_reports = {
        "box-1": (
            report("/etc/a.pem", 80),
            report("192.0.2.1:443", -3, "it has expired", verified=False),
            CertificateReport("/etc/b.pem", failure="the bot's user may not read it"),
        ),
        "box-2": (report("/etc/c.pem", 12),),
    }
    results = {name: certificate_expiry.function(context(machines), Host(name)) for name in ("box-1", "box-2", "box-3")}
    first = as_the_model_sees_it(results["box-1"])["certificates"][0]
    assert (first["place"], first["days_left"], first["verified"]) == ("192.0.2.1:443", -3, False)
    assert (len(first["names"]), first["names_not_shown"]) == (5, 4)
    rows = certificate_expiry.table(results).rows
    assert [row[:3] for row in rows] == [
        ("box-1", "192.0.2.1:443", "-3"),
        ("box-1", "/etc/b.pem", "unknown"),
        ("box-2", "/etc/c.pem", "12"),
        ("box-1", "/etc/a.pem", "80"),
        ("box-3", "none listed in the inventory", ""),
    ]
    assert rows[1][6] == "the bot's user may not read it"
    assert rows[0][6] == "it has expired"


def test_an_intermediate_that_ends_first_is_said():
    machines = FakeMachines()
    chain = (certificate(80), certificate(5, subject="Test CA"))
    machines.certificate_reports = {"box-1": (CertificateReport("/a", chain=chain),)}
    (entry,) = certificate_expiry.function(context(machines), HOST)["certificates"]
    assert entry["days_left"] == 80
    assert "another certificate of its chain ends first" in entry["problems"][0]


def test_many_certificates_are_bounded_and_counted():
    machines = FakeMachines()
    machines.certificate_reports = {"box-1": tuple(report(f"/etc/{n}.pem", n) for n in range(100))}
    result = certificate_expiry.function(context(machines), HOST)
    assert (len(result["certificates"]), result["not_shown"]) == (40, 60)
    assert "60 more not shown" in certificate_expiry.table({"box-1": result}).title


# --- dns_check -------------------------------------------------------------------------------------------------------

OUTPUT = """@@opsbot resolv.conf
nameserver 192.0.2.53
nameserver 192.0.2.54
search corp.test lab.test
options timeout:1
@@opsbot nsswitch
hosts:          files dns
@@opsbot resolved
@@opsbot name db.test 1000000000 1045000000 no
192.0.2.9       STREAM db.test
192.0.2.9       DGRAM
192.0.2.9       RAW
2001:db8::9     STREAM
@@opsbot name mq.test 1000000000 7045000000 no

"""


class Resolving(FakeMachines):
    """A host whose name script prints this."""

    def __init__(self, output: str) -> None:
        super().__init__()
        self._output = output

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.commands.append((host.name, tuple(argv)))
        return CommandResult(tuple(argv), 0, self._output)


def looked_up(output: str, own: dict | None = None):
    machines = Resolving(output)
    machines.names_from_bot = own or {}
    return as_the_model_sees_it(dns_check.function(context(machines), HOST))


def test_names_are_looked_up_with_time_and_resolvers():
    result = looked_up(OUTPUT, {"db.test": ("192.0.2.9", "2001:db8::9"), "mq.test": ("192.0.2.7",)})
    slow, good = result["names"]
    assert (good["addresses"], good["took_ms"], good["compared_with_bot"]) == (["192.0.2.9", "2001:db8::9"], 45, "same")
    assert (slow["name"], slow["took_ms"]) == ("mq.test", 6045)
    assert slow["failure"] == "no answer in time: its resolvers may be down"
    assert result["resolvers"] == ["192.0.2.53", "192.0.2.54"]
    assert (result["search"], result["lookup_order"]) == (["corp.test", "lab.test"], "files dns")
    assert dns_check.table({"box-1": result}).rows[1] == (
        "box-1",
        "db.test",
        "192.0.2.9, 2001:db8::9",
        "45 ms",
        "same",
        "192.0.2.53, 192.0.2.54",
    )


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (("192.0.2.9", "2001:db8::9"), "same"),
        (("192.0.2.9",), "overlaps"),
        (("192.0.2.8",), "differs"),
        ((), "differs"),
        (None, "unknown: the bot got no answer"),
    ],
)
def test_the_bots_own_answer_is_compared(own, expected):
    entry = next(e for e in looked_up(OUTPUT, {"db.test": own})["names"] if e["name"] == "db.test")
    assert entry["compared_with_bot"] == expected


def test_an_address_of_etc_hosts_is_said_to_be():
    text = OUTPUT.replace("1045000000 no", "1045000000 yes")
    assert dns_check.table({"box-1": looked_up(text)}).rows[1][2].endswith("(from /etc/hosts)")


def test_no_address_is_not_taken_for_no_such_name():
    """getent says the same for both, so the answer leaves it open."""
    text = OUTPUT.replace("7045000000", "1002000000")
    assert "or its resolvers cannot be reached" in looked_up(text)["names"][0]["failure"]


@pytest.mark.parametrize("text", ["", "garbage\x1b[2J", OUTPUT[:60], "@@opsbot no getent\n"])
def test_what_the_host_did_not_say_is_unknown(text):
    result = looked_up(text)
    assert {entry["failure"].split(":")[0] for entry in result["names"]} == {"unknown"}
    assert {entry["compared_with_bot"] for entry in result["names"]} == {"unknown"}


def test_only_names_of_the_inventory_are_looked_up():
    machines = Resolving("")
    dns_check.function(context(machines), HOST)
    ((_, argv),) = machines.commands
    assert argv[3:] == ("sh", "db.test", "mq.test")


def test_a_clock_without_nanoseconds_gives_no_time():
    text = OUTPUT.replace("1000000000 1045000000", "1000%N 1045%N")
    assert next(e for e in looked_up(text)["names"] if e["name"] == "db.test")["took_ms"] is None


@given(st.text(max_size=300))
def test_any_output_is_read_without_falling_over(text):
    assert isinstance(parse_lookups(f"@@opsbot resolv.conf\n{text}\n@@opsbot name a {text}")["names"], dict)
