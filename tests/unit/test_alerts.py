"""Alerts as they are pasted: known shapes are read by code, everything else is nobody's alert."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from opsbot.alert_formats import read_time, recognise
from opsbot.alerts import Alert, Severity, host_of, read_as, told, typed
from opsbot.domain import Actor, Conversation, Host, Place, UserMessage
from opsbot.intake import Intake
from opsbot.inventory import Inventory
from opsbot.redact import Redactor
from opsbot.taint import PASTED, sources
from tests.safety.hostile_text import BREAKOUTS, LINKS, MARKUP, TERMINAL, UNICODE

AT = datetime(2026, 11, 28, 3, 12, 5, tzinfo=UTC)
INVENTORY = Inventory(
    {
        "web-1": Host("web-1", address="192.0.2.1"),
        "web-2": Host("web-2", address="web-2.example.org"),
        "DB-1": Host("DB-1", address="192.0.2.3"),
    },
    {},
)
INTAKE = Intake(Redactor(("hunter2-secret",)))


def alert(**labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "DiskFull", "severity": "critical", "instance": "web-1:9100", **labels},
        "annotations": {"summary": "/var is 98 % full", "description": "since a while"},
        "startsAt": "2026-11-28T03:12:05.123456789Z",
    }


def read(text: str) -> tuple[Alert, ...]:
    found = recognise(text)
    return tuple(typed(raw, INVENTORY, INTAKE) for raw in found.alerts) if found else ()


WEBHOOK = json.dumps({"version": "4", "status": "firing", "alerts": [alert()], "groupLabels": {}}, indent=1)
GRAFANA = json.dumps({"orgId": 1, "title": "[FIRING:1]", "state": "alerting", "alerts": [alert()]})
API = json.dumps([{**alert(), "status": {"state": "active"}}])
PROMETHEUS = json.dumps(
    {
        "status": "success",
        "data": {"alerts": [{**alert(), "status": None, "state": "firing", "activeAt": "2026-11-28T03:12:05Z"}]},
    }
)
SLACK = '[FIRING:1] DiskFull for node (instance="web-1:9100", severity="critical")\n/var is 98 % full'
LISTED = (
    "*[FIRING:1] DiskFull*\nLabels:\n - alertname = DiskFull\n - instance = web-1:9100\n - severity = critical\n"
    "Annotations:\n - summary = /var is 98 % full\nSource: node"
)
HEADLINE = "[FIRING:1] DiskFull web-1 (critical)\n/var is 98 % full"
NAGIOS = """***** Nagios *****

Notification Type: PROBLEM

Service: DiskFull
Host: web-1
Address: 192.0.2.1
State: CRITICAL

Date/Time: Sat Nov 28 03:12:05 UTC 2026

Additional Info:

DISK CRITICAL - /var is 98 % full"""
ICINGA = """***** Service Monitoring on icinga *****

DiskFull on web-1 is CRITICAL!

Info:    DISK CRITICAL - /var is 98 % full

When:    2026-11-28 03:12:05 +0000
Service: DiskFull
Host:    web-1"""
NAGIOS_LINE = "** PROBLEM Service Alert: web-1/DiskFull is CRITICAL **\n/var is 98 % full"
SYSTEMD = """Host: web-1

● nginx.service - A high performance web server
     Loaded: loaded (/lib/systemd/system/nginx.service; enabled; vendor preset: enabled)
     Active: failed (Result: exit-code) since Sat 2026-11-28 03:12:05 UTC; 5s ago
   Main PID: 999 (code=exited, status=1/FAILURE)

Nov 28 03:12:05 web-1 nginx[999]: bind() to 0.0.0.0:80 failed"""


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (WEBHOOK, "alertmanager"), (GRAFANA, "grafana"), (API, "alertmanager"), (PROMETHEUS, "prometheus"),
        (json.dumps(alert()), "alertmanager"), (SLACK, "alertmanager"), (LISTED, "alertmanager"),
        (HEADLINE, "alertmanager"), (NAGIOS, "nagios"), (ICINGA, "icinga"), (NAGIOS_LINE, "nagios"),
    ],
)  # fmt: skip
def test_known_shapes_are_read(text, source):
    (found,) = read(text)
    assert (found.source, found.title, found.severity) == (source, "DiskFull", Severity.CRITICAL)
    assert found.hosts == ("web-1",)
    assert "98 % full" in found.text
    assert not found.resolved
    assert found.started_at in (AT, None)


@pytest.mark.parametrize("text", [WEBHOOK, GRAFANA, API, PROMETHEUS, NAGIOS, ICINGA])
def test_the_time_is_read_where_it_stands(text):
    assert read(text)[0].started_at == AT


def test_what_systemctl_says_of_a_failed_unit_is_an_alert():
    (found,) = read(SYSTEMD)
    assert (found.source, found.unit, found.hosts) == ("systemd", "nginx.service", ("web-1",))
    assert found.severity is Severity.CRITICAL
    assert found.started_at == AT
    assert read(SYSTEMD.removeprefix("Host: web-1\n"))[0].hosts == ("web-1",), "the journal's lines name it too"


def test_old_grafana_is_read():
    body = {"ruleName": "Load", "state": "ok", "message": "m", "evalMatches": [{"tags": {"host": "DB-1"}}]}
    (found,) = read(json.dumps(body))
    assert (found.title, found.hosts, found.resolved) == ("Load", ("DB-1",), True)


@pytest.mark.parametrize("text", ["[RESOLVED] DiskFull", "** RECOVERY Service Alert: web-1/DiskFull is OK **"])
def test_an_alert_that_is_over_says_so(text):
    assert read(text)[0].resolved
    assert read_as(read(text)).startswith("Read as: resolved")


def test_several_alerts_of_one_message_are_all_read_and_the_first_are_shown():
    text = json.dumps({"alerts": [alert(alertname=f"A{number}") for number in range(30)]})
    found = read(text)
    assert len(found) == 20
    assert read_as(found).splitlines()[-1] == "and 17 more of that message"


def test_own_words_around_an_alert_are_kept():
    found = recognise(f"is this bad?\n```json\n{WEBHOOK}\n```\nsince today")
    assert found is not None
    assert found.own_words == "is this bad? since today"


@pytest.mark.parametrize(
    "text",
    [
        "", "how is web-1?", "restart nginx on web-1 because it is DOWN", "the alert says web-1 is CRITICAL",
        '{"a": 1}', '{"alerts": "none"}', '{"alerts": [1, null, {"labels": []}]}', '{"labels": {"alertname": 7}}',
        '{"alerts": [{"labels": {', "Active: failed", "● nginx.service", "Alert: x", "***** Nagios *****",
        "Host: web-1\nState: CRITICAL", '"alerts" ' + "[" * 7000, '{"labels":' * 1500,
    ],
)  # fmt: skip
def test_everything_else_is_no_alert(text):
    assert recognise(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "x" * 8000, "- a = b\n" * 1000, "[FIRING:1] " * 700, "*" * 8000, '"alerts"' + "{" * 7900, "● " * 4000,
        "Active: failed " + "x " * 3900, "***** Nagios *****" + "\nA b" * 1900, "PROBLEM Host Alert: " + "a" * 7900,
        "is CRITICAL " + "a on " * 1500,
        "Notification Type:" + " " * 7900, "is DOWN\n" + "\n" * 7900, "is DOWN\n" + " " * 7900,
        "is DOWN\n" + "> " * 3900, "[FIRING:1] x\n" * 600, "[FIRING:1] x\n-" + " " * 7000, "is DOWN PROBLEM " * 500,
        '[FIRING:1] x (' + 'a="' * 2600,
    ],
)  # fmt: skip
def test_no_message_takes_long_to_look_at(text):
    began = time.process_time()
    recognise(text)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("web-1", "web-1"), ("web-1:9100", "web-1"), ("WEB-1", "web-1"), ("web-1.example.org", "web-1"),
        ("192.0.2.1", "web-1"), ("192.0.2.1:9100", "web-1"), ("web-2.example.org", "web-2"), ("db-1", "DB-1"),
        ("db-1.", "DB-1"), ("web-9", ""), ("", ""), ("192.0.2.9", ""), ("192", ""), ("web", ""), ("*", ""),
    ],
)  # fmt: skip
def test_hosts_are_found_by_name_address_and_full_name(name, host):
    assert host_of(name, INVENTORY) == host


def test_a_host_that_is_not_in_the_inventory_is_named_with_those_like_it():
    (found,) = read(json.dumps(alert(instance="web-l:9100")))
    assert found.hosts == ()
    assert found.strange[0][0] == "web-l:9100"
    assert "web-1" in found.strange[0][1]
    assert "is not in the inventory, did it mean `web-1`" in read_as([found])


def test_people_see_one_line():
    assert read_as(read(WEBHOOK)) == "Read as: critical · `DiskFull` · `web-1` · since 2026-11-28 03:12 UTC"


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-28T03:12:05Z", AT), ("2026-11-28T05:12:05+02:00", AT), ("2026-11-28 03:12:05", AT),
        ("2026-11-28T03:12:05.1234567890Z", AT), ("0001-01-01T00:00:00Z", None), ("9999-12-31T23:59:59Z", None),
        ("yesterday", None), ("", None), (7, None), ("2026-13-01", None), ("0001-01-01T00:00:00+23:59", None),
    ],
)  # fmt: skip
def test_times(text, at):
    assert read_time(text) == at


# --- hostile ---------------------------------------------------------------------------------------------------------

HOSTILE = [text for text in (*MARKUP, *BREAKOUTS, *LINKS, *UNICODE, *TERMINAL) if text]


@pytest.mark.parametrize("text", HOSTILE)
def test_words_of_an_alert_are_data_for_the_model_and_literal_for_people(text):
    labels = {"alertname": text, "instance": text, "severity": text, "x": text}
    pasted = json.dumps({"alerts": [{**alert(), "labels": labels, "annotations": {"summary": text}}]})
    found = read(pasted)
    block = told(found, "")
    lines = block.splitlines()
    mark = lines[2].removeprefix("<data ").removesuffix(">")
    assert lines[-1] == f"</data {mark}>"
    assert block.count(mark) == 2
    assert len(lines) == 5, "the alert is one line of JSON"
    assert json.loads(lines[3])
    line = read_as(found)
    outside = "".join(line.split("`")[::2])
    assert not any(bad in outside for bad in ("<", "*", "](", "://", "#"))
    assert line.count("\n") == 0


def test_secrets_do_not_get_in():
    found = read(json.dumps(alert(password="hunter2-secret", x="hunter2-secret")))
    assert "hunter2" not in told(found, "") + read_as(found)


def test_an_alert_is_bounded_whatever_was_pasted():
    found = read(json.dumps(alert(**{f"l{n}": "x" * 3000 for n in range(50)}, alertname="A" * 5000)))
    assert len(told(found, "")) < 6000


def test_a_conversation_with_an_alert_is_tainted():
    text = told(read(json.dumps({"labels": {"alertname": "x"}})), "please look")
    assert len(text) < 600, "short enough to pass for a person's own words"
    message = UserMessage(text, Actor("T1", "U1"), AT)
    assert sources(Conversation(Place("T1", "C1", "1.1"), (message,), 1)) == (PASTED,)


def test_the_same_alert_is_told_in_the_same_bytes():
    assert told(read(WEBHOOK), "w") == told(read(WEBHOOK), "w")
