"""Defences to take out, one by one and in pairs: every one of them must make a test fail."""

from tests.sabotage.copy import Change, Sabotage

WITHOUT_BOLTS_CHECK = Change(
    "opsbot/adapters/slack/listeners.py",
    "        signing_secret=signing_secret,",
    "        signing_secret=signing_secret,\n        request_verification_enabled=False,",
)


def one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    """Describe a sabotage of one place."""
    return Sabotage(name, (Change(file, before, after),), tests)


PATCHES: tuple[Sabotage, ...] = (
    one(
        "units: match the beginning only",
        "opsbot/units.py",
        "not _NAME.fullmatch(name)",
        "not _NAME.match(name)",
        "tests/safety/test_t13_shell_arguments.py",
    ),
    one(
        "units: any host may be touched",
        "opsbot/actions.py",
        "    refusing = [host for host in hosts if unit not in _allowed(host)]",
        "    refusing = [host for host in hosts if unit in ()]",
        "tests/safety/test_t13_shell_arguments.py",
    ),
    one(
        "arguments: the last of two equal keys counts",
        "opsbot/schema.py",
        "        if key in found:",
        "        if key in ():",
        "tests/safety/test_t18_inventing_model.py",
        "tests/unit/test_schema.py",
    ),
    # Bolt's own check of signatures and their age stands behind ours, so both have to go.
    Sabotage(
        "slack: signatures are not compared",
        (
            Change(
                "opsbot/adapters/slack/entrance.py",
                'return hmac.compare_digest(f"v0={expected}", signature)',
                "return bool(expected)",
            ),
            WITHOUT_BOLTS_CHECK,
        ),
        ("tests/safety/test_t03_forged_requests.py",),
    ),
    Sabotage(
        "slack: old signatures count",
        (
            Change(
                "opsbot/adapters/slack/entrance.py",
                "if abs(time.time() - int(timestamp)) > _CLOCK_SKEW_MAX_S:",
                "if False:",
            ),
            WITHOUT_BOLTS_CHECK,
        ),
        ("tests/safety/test_t03_forged_requests.py",),
    ),
    one(
        "ssh: any host key will do",
        "opsbot/adapters/ssh_pool.py",
        "                check_host_key(link, pins, deadline)",
        "                pass",
        "tests/safety/test_t15_host_keys.py",
    ),
    one(
        "configuration: anchors are taken",
        "opsbot/config_yaml.py",
        'if getattr(event, "anchor", None) is not None:',
        "if False:",
        "tests/safety/test_t28_hostile_configuration.py",
    ),
    one(
        "model: an unfinished answer counts",
        "opsbot/hearing.py",
        "    if done is None:\n        raise ModelMisbehaved(",
        '    done = done or Done("tool_calls" if calls else "stop")\n    if False:\n        raise ModelMisbehaved(',
        "tests/safety/test_r05_stream_cut.py",
        "tests/scenario",
    ),
    one(
        "model: redirects are followed",
        "opsbot/adapters/openai_http.py",
        "follow_redirects=False",
        "follow_redirects=True",
        "tests/safety/test_t19_hostile_endpoint.py",
    ),
    one(
        "model: answers without end are read",
        "opsbot/adapters/openai_http.py",
        "if size > MAX_WIRE_BYTES:",
        "if False:",
        "tests/wire/test_model_faults.py",
    ),
    one(
        "budget: none is ever used up",
        "opsbot/spending.py",
        "if limit.used(totals[limit.scope]) >= limit.most)",
        "if limit.used(totals[limit.scope]) < 0)",
        "tests/scenario/test_budgets.py",
    ),
    one(
        "usage: everybody sees everybody's",
        "opsbot/usage.py",
        '"" if everybody else me',
        '"" if everybody else ""',
        "tests/scenario/test_budgets.py",
    ),
    one(
        "usage: what could not be stored is forgotten",
        "opsbot/turn.py",
        "            self.meter.give_back(taken)",
        "            self.meter.give_back(())",
        "tests/scenario/test_budgets.py",
    ),
    one(
        "established: sentences of a host are quoted",
        "opsbot/established.py",
        "case str() if _PLAIN.fullmatch(value):",
        "case str():",
        "tests/unit/test_established.py",
    ),
)
