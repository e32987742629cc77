"""Every reading word of `/ops`, typed by a person about a real host: answered, in time, and never a crash."""

import asyncio
import time

import pytest
import pytest_asyncio

from opsbot import command_forms
from tests.fleet.test_fleet_main_job import OPS, hosts_section, says
from tests.whole_bot import WholeBot

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(400)]

WORDS = {"UNIT": "nginx", "NAME": "nothing-of-that-name", "METRIC": "load", "HOST": "h1", "HOST|GROUP": "h1"}
# The longest time limit of a reading tool, the second it may be late, and a busy machine.
IN_TIME_S = 40


@pytest_asyncio.fixture
async def bot(tmp_path, workbench, fleet_hosts):
    limits = "limits: {messages_per_minute_per_person: 1000}\n"
    bot = WholeBot(tmp_path, workbench, limits + hosts_section(fleet_hosts))
    await asyncio.to_thread(bot.start)
    yield bot
    await asyncio.to_thread(bot.terminate)


def typed(form: command_forms.Form) -> str:
    """The usage line with this host's names in it."""
    words = [word for word in form.usage.words.split() if not word.startswith("[")]
    return " ".join([words[0], *(WORDS[word.rstrip("…").removesuffix("|all")] for word in words[1:])])


async def test_every_word_is_answered_about_the_host_and_in_time(bot, workbench):
    alice = workbench.person("alice")
    seen: set[str] = set()
    wrong = []
    for form in command_forms.READING:
        began = time.monotonic()
        await alice.command(OPS, f"/ops {typed(form)}")
        answer = await alice.sees(
            lambda m: m.get("ephemeral_for") and m["ts"] not in seen and "Still looking" not in says(m), IN_TIME_S + 20
        )
        seen.add(answer["ts"])
        took_s, text = time.monotonic() - began, says(answer)
        if took_s > IN_TIME_S:
            wrong.append(f"{typed(form)}: took {took_s:.0f} s")
        if "h1" not in text or any(w in text for w in ("went wrong", "The tool itself failed", "is not a command")):
            wrong.append(f"{typed(form)}: {text[:500]}")
    assert wrong == []
