"""Rules of redaction: known values in six encodings, well-known shapes, and hands off ordinary log lines."""

import base64
import json
import random
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.redact import HIDDEN, Redactor
from tests.unit.debian_log_lines import log_lines

# Letters, digits, and what each encoding changes.
CANARIES = ("canary-Value-123456", 'p"w\\x/7+ä&% z', "xoxb-0-own-bot-token-0", "0123456789abcdef0123456789abcdef")
REDACTOR = Redactor(CANARIES)
PLAIN = Redactor()

ENCODINGS = {
    "raw": lambda value: value,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64 url": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "hex": lambda value: value.encode().hex(),
    "HEX": lambda value: value.encode().hex().upper(),
    "url": lambda value: quote(value, safe=""),
    "url plus": lambda value: quote_plus(value),
    "json": lambda value: json.dumps(value)[1:-1],
    "json in json": lambda value: json.dumps(json.dumps(value)[1:-1])[1:-1],
    "wrapped": lambda value: value[:5] + "\n    " + value[5:],
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", CANARIES)
@pytest.mark.parametrize("around", ["{}", "before {} after", '{{"key": "{}"}}', "a={};b=2", "[{}]"])
def test_own_secret_is_hidden_in_every_encoding(value: str, encoding: str, around: str) -> None:
    encoded = ENCODINGS[encoding](value)
    shown = REDACTOR.text(around.format(encoded))
    assert encoded not in shown
    assert value not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize("value", CANARIES)
@pytest.mark.parametrize("before", ["", "u", "us", "user:", "user:x"])
@pytest.mark.parametrize("after", ["", "!", "!!", "\n"])
def test_own_secret_inside_a_longer_base64_text_is_hidden(value: str, before: str, after: str) -> None:
    encoded = base64.b64encode(f"{before}{value}{after}".encode()).decode()
    left = REDACTOR.text(encoded).replace(HIDDEN, "")
    # At either edge a character may stay that also carries the neighbour's bits.
    assert len(left) <= len(encoded) - len(value) + 4


@given(st.text(min_size=6, max_size=40).filter(lambda text: len(text.strip()) >= 6), st.text(max_size=30))
def test_any_own_secret_is_hidden(value: str, around: str) -> None:
    assert value.strip() not in Redactor([value]).text(f"{around}{value}{around}").replace(HIDDEN, "\0")


def test_short_values_are_left_alone() -> None:
    assert Redactor(["abc", "12345", ""]).text("abc 12345") == "abc 12345"


# Written in pieces, so that scanners of repositories do not take the tests for a leak.
SHAPES = {
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "slack bot": "xoxb-" + "123456789012-abcdefGHIJKL",
    "slack app": "xapp-" + "1-A0123-456-abcdef",
    "slack hook": "https://hooks.slack.com/services/" + "T0000/B0000/abcdefghijklmnop",
    "openai": "sk-" + "proj-abcdefghijklmnopqrstuvwx",
    "anthropic": "sk-" + "ant-abcdefghijklmnopqrstuvwx",
    "github": "ghp_" + "a1" * 18,
    "github fine": "github_pat_" + "a1" * 20,
    "gitlab": "glpat-" + "a1" * 10,
    "google": "AIza" + "a1b2c" * 7,
    "stripe": "sk_live_" + "a1" * 12,
    "jwt": "eyJhbGciOiJI.eyJzdWIiOiIxMjM.abc-def_ghi".replace("JI.", "JIUzI1NiJ9."),
    "npm": "npm_" + "a1" * 18,
    "pypi": "pypi-AgE" + "a1" * 30,
    "digitalocean": "dop_v1_" + "a1" * 32,
    "sendgrid": "SG." + "a1" * 11 + "." + "b2" * 21,
    "vault": "hvs." + "a1" * 15,
    "hugging face": "hf_" + "a1" * 17,
    "age": "AGE-SECRET-KEY-1" + "A1" * 29,
    "crypt": "$6$" + "rounds=5000$abcdefgh$" + "a1" * 20,
    "bearer": "Authorization: Bearer " + "abcdef1234567890",
    "basic": "authorization: basic " + "dXNlcjpwYXNz",
    "password=": "password=" + "hunter2hunter2",
    "PGPASSWORD": "PGPASSWORD=" + "hunter2",
    "json": '{"client_secret": "' + 'my secret words"}',
    "python": "{'api_key': '" + "abc def 123'}",
    "option": "mysql --password " + "hunter2",
    "colon": "token: " + "abc123def456",
    "url": "postgresql://admin:" + "hunter2@db.example.net/x",
    "sql": "CREATE USER x IDENTIFIED BY '" + "hunter2'",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc+/=\n" + "-----END RSA PRIVATE KEY-----",
    "cut pem": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk",
}
WORDS_TO_HIDE = ("hunter2", "my secret words", "abc def 123", "MIIEabc", "b3BlbnNzaC1rZXk", "dXNlcjpwYXNz")


@pytest.mark.parametrize("name", SHAPES)
def test_well_known_shape_is_hidden(name: str) -> None:
    shown = PLAIN.text(f"line one {SHAPES[name]} rest")
    assert HIDDEN in shown
    assert shown.startswith("line one ")
    assert not [word for word in WORDS_TO_HIDE if word in shown]


@pytest.mark.parametrize("name", SHAPES)
def test_redaction_is_idempotent_and_keeps_json(name: str) -> None:
    text = json.dumps({"log": SHAPES[name], "nested": json.dumps({"text": SHAPES[name]}), "password": SHAPES[name]})
    once = PLAIN.text(text)
    assert json.loads(once)["password"] == HIDDEN
    assert PLAIN.text(once) == once


@given(st.dictionaries(st.sampled_from(["password", "token", "text", "a"]), st.text(max_size=40), max_size=4))
def test_json_stays_json(content: dict[str, str]) -> None:
    text = json.dumps({"outer": content, "again": json.dumps(content), "line": "password=" + content.get("text", "")})
    assert isinstance(json.loads(REDACTOR.text(text)), dict)


@pytest.mark.parametrize(
    "line",
    [
        "Failed password for invalid user admin from 192.0.2.7 port 50022 ssh2",
        "password changed for user backup",
        "token expired, refreshing",
        "error: no token: none",
        "api_key=none secret=*** password=<hidden> token=null",
        "Accepted publickey for opsbot from 192.0.2.1 port 22 ssh2: ED25519 SHA256:" + "abcdefgh" * 5,
        "https://example.net:8443/path?x=1@y",
        "PasswordAuthentication no",
        "passwd: files systemd",
        "/etc/ssl/private/ssl-cert-snakeoil.key: key file",
        "tokens_used=1234 max_tokens=2000 keyboard=us monkey=banana",
    ],
)
def test_ordinary_line_is_left_alone(line: str) -> None:
    assert PLAIN.text(line) == line


def test_few_false_positives_on_what_debian_prints() -> None:
    lines = log_lines(3200, random.Random(20261122))
    changed = [line for line in lines if PLAIN.text(line) != line]
    assert len(lines) >= 3000
    assert len(changed) <= len(lines) // 1000, changed[:10]


@pytest.mark.parametrize(
    "unit",
    ["password", "eyJ", "a", "://", "-----BEGIN PRIVATE KEY-----\n", "x://a:", "authorization: ", "\\", 'password="',
     "token: aaaaa", "bearer ", "sk-ant-", "$6$", '{"a":"', "token:    "],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            REDACTOR.text(text)
            best = min(best, time.process_time() - start)
        return best

    small, large = seconds(20_000), seconds(160_000)
    # Linear is 8 times; quadratic would be 64. The floor keeps a noisy clock out of it.
    assert large < 24 * max(small, 0.002)


def test_redactor_shows_no_secret_itself() -> None:
    assert "canary" not in repr(REDACTOR)


@pytest.mark.parametrize("fold", [" ", "  ", "\t", " \n "])
@pytest.mark.parametrize("value", ["8f742231b10e8888abcd99yyyzzz85a5", 'pg "secret" pass\\word'])
def test_a_value_cut_by_lines_that_were_folded_into_one_is_hidden(value: str, fold: str) -> None:
    half = len(value) // 2
    hidden = Redactor([value]).text(f"token {value[:half]}{fold}{value[half:]} end")
    assert hidden == "token [redacted] end"


def test_words_that_hold_no_value_keep_their_blanks() -> None:
    text = "it  leaks\tmemory since 3 o'clock"
    assert Redactor(["abcdef", "a b c d e f"]).text(text) == text
