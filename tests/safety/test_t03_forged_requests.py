"""T03: forged, replayed and broken requests at the HTTP door are refused without an error of ours."""

import asyncio
import hashlib
import hmac
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.safety.conftest import Figures, Scale
from tests.slack_bot import SECRET, stage
from tests.slack_door import Door, event_body, signed


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    async with stage("http") as on:
        yield Door(on)


def test_the_signatures_of_these_tests_are_slacks_own() -> None:
    """The example of https://docs.slack.dev/authentication/verifying-requests-from-slack (2026)."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&"
        b"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&"
        b"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&"
        b"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = signed(body, at=1531420618, secret="8f742231b10e8888abcd99yyyzzz85a5")
    assert headers["X-Slack-Signature"] == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


REFUSED: dict[str, dict[str, str]] = {
    "no headers": {"X-Slack-Request-Timestamp": "", "X-Slack-Signature": ""},
    "a word for a time": {"X-Slack-Request-Timestamp": "yesterday"},
    "a time with a sign": {"X-Slack-Request-Timestamp": "-1"},
    "arabic digits": {"X-Slack-Request-Timestamp": "١٢٣"},
    "a huge time": {"X-Slack-Request-Timestamp": "9" * 400},
    "no version": {"X-Slack-Signature": "ab" * 32},
    "not ascii": {"X-Slack-Signature": "v0=" + "é" * 64},
    "upper case": {"X-Slack-Signature": "v0=" + "AB" * 32},
    "too short": {"X-Slack-Signature": "v0=ab"},
    "wrong": {"X-Slack-Signature": "v0=" + "ab" * 32},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
async def test_bad_headers_are_401(door: Door, headers: dict[str, str]) -> None:
    body = event_body()
    assert await door.post(body, signed(body) | headers) == 401
    assert door.handler.calls == 0


@pytest.mark.parametrize("age_s", [301, -302, 10**6])
async def test_old_and_future_signatures_are_401(door: Door, age_s: int) -> None:
    body = event_body()
    assert await door.post(body, signed(body, at=time.time() - age_s)) == 401


async def test_wrong_secret_and_changed_body_are_401(door: Door) -> None:
    body = event_body()
    assert await door.post(body, signed(body, secret="other")) == 401
    assert await door.post(body + b" ", signed(body)) == 401
    assert (
        await door.post(b"ssl_check=1&token=x&payload=%7B%7D", {"Content-Type": "application/x-www-form-urlencoded"})
        == 401
    )
    assert door.handler.calls == 0


BROKEN = {
    "not json": b"{",
    "a list": b"[]",
    "a number": b"7",
    "not utf-8": b'{"type": "\xff"}',
    "event is a list": b'{"type":"event_callback","event":[]}',
    "event is null": b'{"type":"event_callback","event":null}',
    "deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "authorizations of numbers": b'{"type":"event_callback","authorizations":[1],"event":{}}',
    "team is a number": b'{"type":"event_callback","team":1,"team_id":2,"user":3,"event":{"user":{}}}',
    "empty": b"",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
async def test_signed_but_broken_bodies_are_never_a_500(door: Door, body: bytes) -> None:
    assert await door.post(body, signed(body)) in (200, 400, 404)
    form = b"payload=" + body
    assert await door.post(form, signed(form, kind="application/x-www-form-urlencoded")) in (200, 400, 404)
    assert door.handler.calls == 0


async def test_another_content_type_is_refused(door: Door) -> None:
    body = event_body()
    assert await door.post(body, signed(body, kind="text/plain")) == 400


async def test_huge_body_is_413(door: Door) -> None:
    body = b"x" * (1024 * 1024 + 1)
    assert await door.post(body, signed(body)) == 413


def raw_request(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    lines = ["POST /slack/events HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1") + body


async def exchange(address: tuple[str, int], request: bytes) -> int:
    """Send bytes and return the status of the answer, 0 if none came (the server waits for the rest, or hung up)."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(65536), 3)
    except (ConnectionError, TimeoutError):
        return 0
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def mutated(rng: random.Random, number: int) -> bytes:
    """A signed event with something wrong: a header dropped, doubled or bent, or bits flipped anywhere signed."""
    body = event_body(number)
    headers = list(signed(body).items())
    how = rng.randrange(6)
    if how == 0:
        headers.pop(rng.randrange(2))
    elif how == 1:
        headers.append(headers[rng.randrange(2)])
    elif how == 2:
        at = rng.randrange(2)
        name, value = headers[at]
        position = rng.randrange(len(value))
        bent = rng.choice(["\x7f", "é", " ", "0x", "-", "\t", "g", ""])
        headers[at] = (name, value[:position] + bent + value[position + 1 :] + ("" if bent else "z"))
    elif how == 3:
        flipped = bytearray(body)
        flipped[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        body = bytes(flipped)
    elif how == 4:
        body = body[: rng.randrange(len(body))]
    else:
        request = bytearray(raw_request(body, headers))
        start, end = request.index(b"X-Slack-Signature"), len(request) - 1
        request[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
        return bytes(request)
    return raw_request(body, headers)


def truly_signed(request: bytes) -> bool:
    """Whether the bytes as sent carry one signature that fits; said anew here, not by the bot's code."""
    head, _, body = request.partition(b"\r\n\r\n")
    pairs = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    named = {name.strip().lower(): value.strip() for name, _, value in pairs}
    timestamp = named.get(b"x-slack-request-timestamp", b"")
    expected = hmac.new(SECRET.encode(), b"v0:" + timestamp + b":" + body, hashlib.sha256).hexdigest()
    return named.get(b"x-slack-signature") == f"v0={expected}".encode()


async def test_thousands_of_mutated_requests_reach_nobody_and_break_nothing(
    door: Door, caplog: pytest.LogCaptureFixture, figures: Figures, scale: Scale
) -> None:
    rng = random.Random(20261122)
    seen: Counter[int] = Counter()
    forged_and_taken = 0
    with caplog.at_level(logging.INFO):
        for number in range(mutations := scale(1_000, 10_000)):
            request = mutated(rng, number)
            status = await exchange(door.address, request)
            seen[status] += 1
            # A bit may be flipped in something unsigned (content type, case of a header's name) and change nothing.
            forged_and_taken += status == 200 and not truly_signed(request)
    figures.note(requests_mutated=mutations, refused=seen[401] + seen[400] + seen[0], answers_of_500=seen[500])
    figures.note(forged_requests_heard=forged_and_taken)
    assert forged_and_taken == 0
    assert door.handler.calls <= seen[200]
    assert set(seen) <= {0, 200, 400, 401}, seen
    assert seen[401] > mutations * 0.8, seen
    assert not any("app_mention" in record.getMessage() for record in caplog.records)


async def test_raw_garbage_is_no_500(door: Door) -> None:
    rng = random.Random(7)
    for _ in range(100):
        status = await exchange(
            door.address, bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200))) + b"\r\n\r\n"
        )
        assert status in (0, 400)
