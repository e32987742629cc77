"""Restarting a container: as whom it is reached, what the card says, what is refused, and the verdict for each end."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.restart_container import available, impact, parse_look, restart_container, verify

from opsbot.context import Context
from opsbot.domain import CommandResult, Host, HostOutcome, Result
from opsbot.errors import BadArguments, HostUnreachable, OutcomeUnknown, ToolError
from opsbot.root_commands import CONTAINER_FIELDS
from opsbot.tooling import Container
from tests.fake_machines import FakeMachines

HOST = Host("box-1", user="ops", sudo=False, containers=("web",))
BY_SUDO = Host("box-1", user="ops", sudo=True, containers=("web",))
WEB = Container("web")
NO_DAEMON = "permission denied while trying to connect to the Docker daemon socket"


@dataclass
class Engine(FakeMachines):
    """One host with one container, `web`, whose end after a restart a test scripts."""

    engine: str = "docker"
    own: str = ""  # what the bot's own user is told instead of an answer
    root: str = "sudo: a password is required"  # the same for root
    after: Callable[["Engine"], None] | None = None
    lost: bool = False
    looked: Callable[["Engine"], None] | None = None
    state: dict[str, object] = field(default_factory=dict)
    sent: list[tuple[str, ...]] = field(default_factory=list)
    restarts_seen: int = 0

    def __post_init__(self) -> None:
        FakeMachines.__init__(self)
        self.state = {
            "id": "c" * 64, "image": "shop/web:3", "state": "running", "started_at": "2026-11-23T04:00:00.5Z",
            "exit_status": 0, "oom_killed": False, "error": "", "health": None, "restarts": 0,
            "restart_policy": "unless-stopped", "auto_remove": False, "stop_timeout_s": None,
            "ports": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "9/tcp": None},
            "networks": {"shop_default": {"IPAddress": "10.0.0.2"}}, "compose_project": "shop",
        } | self.state  # fmt: skip

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.reach(host, argv, timeout_s)
        if argv[0] == "sh":
            return CommandResult(tuple(argv), 0 if self.engine else 127, f"{self.engine}\n")
        refusal = self.root if argv[0] == "sudo" else self.own
        if refusal:
            return CommandResult(tuple(argv), 1, "", refusal)
        if "restart" in argv:
            return self._restart(tuple(argv))
        if "logs" in argv:
            return CommandResult(tuple(argv), 0, "2026-11-23T04:00:02Z second\n", "2026-11-23T04:00:01Z first\n")
        if self.looked:
            self.looked(self)
        if not self.state:
            return CommandResult(tuple(argv), 1, "", "Error: No such container: web")
        return CommandResult(tuple(argv), 0, json.dumps([self.state[name] for name in CONTAINER_FIELDS]) + "\n")

    def _restart(self, argv: tuple[str, ...]) -> CommandResult:
        self.sent.append(argv)
        (self.after or come_back)(self)
        if self.lost:
            raise OutcomeUnknown("lost")
        return CommandResult(argv, 0, "web\n")


def come_back(engine: Engine, **changes: object) -> None:
    engine.state |= {"started_at": "2026-11-23T05:00:00Z", "state": "running"} | changes


def ended(**changes: object) -> Callable[[Engine], None]:
    return lambda engine: come_back(engine, **changes)


class Time:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


def context(machines: FakeMachines, timeout_s: float = 90) -> Context:
    time = Time()
    return Context(machines, timeout_s=timeout_s, monotonic=lambda: time.now, sleep=time.sleep)


def restarted(engine: Engine, host: Host = HOST) -> HostOutcome:
    before = impact(context(engine), host, WEB)
    with suppress(ToolError):
        restart_container.function(context(engine), host, WEB)
    return verify(context(engine), host, before, WEB)


# --- as whom ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_who_may_speak_to_the_engine_needs_no_sudo(engine):
    machines = Engine(engine=engine)
    assert restarted(machines, BY_SUDO).result is Result.DONE
    assert machines.sent == [(engine, "restart", "--", "web")]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_who_may_not_goes_by_sudo_with_the_exact_words_of_the_rule(engine):
    machines = Engine(engine=engine, own=NO_DAEMON, root="")
    assert restarted(machines, BY_SUDO).result is Result.DONE
    assert machines.sent == [("sudo", "-n", f"/usr/bin/{engine}", "restart", "--", "web")]


def test_roots_own_podman_is_looked_at_when_the_users_has_no_such_container():
    machines = Engine(engine="podman", own="Error: no such container web", root="")
    assert dict(impact(context(machines), BY_SUDO, WEB).facts)["engine"] == "podman, as root, by sudo"


def test_a_host_without_sudo_is_never_asked_by_sudo():
    machines = Engine(own=NO_DAEMON, root="")
    with pytest.raises(ToolError, match=r"may not do that in docker; nothing was changed"):
        impact(context(machines), HOST, WEB)
    assert [argv[0] for _, argv in machines.commands] == ["sh", "docker"]


def test_missing_rights_name_the_rule_to_add():
    machines = Engine(own=NO_DAEMON)
    with pytest.raises(ToolError, match=r"ops ALL=\(root\) NOPASSWD: /usr/bin/docker restart -- web`"):
        impact(context(machines), BY_SUDO, WEB)


@pytest.mark.parametrize(("host", "root"), [(HOST, ""), (BY_SUDO, "sudo: a password is required")])
def test_a_container_that_is_not_there_is_said_to_be_so(host, root):
    with pytest.raises(ToolError, match="box-1 has no container web in docker"):
        impact(context(Engine(own="Error: No such container: web", root=root)), host, WEB)


def test_a_host_without_an_engine_says_so():
    with pytest.raises(ToolError, match="neither docker nor podman"):
        impact(context(Engine(engine="")), HOST, WEB)


# --- the card --------------------------------------------------------------------------------------------------------


def test_the_card_says_what_would_be_hit():
    engine = Engine(state={"health": {"Status": "healthy", "Log": []}})
    facts = dict(impact(context(engine), HOST, WEB).facts)
    assert facts["state"] == "running (healthy)"
    assert facts["image"] == "shop/web:3"
    assert facts["running since"].startswith("2026-11-23 04:00:00 UTC (")
    assert facts["ports"] == "127.0.0.1:8080->80/tcp"
    assert facts["networks"] == "shop_default"
    assert facts["restart policy"] == "unless-stopped"
    assert facts["compose project"] == "shop; the others in it are not restarted"
    assert facts["engine"] == "docker, as the bot's own user"
    assert "note" not in facts


def test_the_card_warns_of_what_a_restart_does_besides():
    off = Engine(state={"state": "exited", "exit_status": 137, "oom_killed": True})
    facts = dict(impact(context(off), HOST, WEB).facts)
    assert facts["state"] == "exited (killed for want of memory, status 137)"
    assert facts["note"] == "it is not running: a restart would start it"
    once = Engine(state={"auto_remove": True})
    assert "removed for good" in dict(impact(context(once), HOST, WEB).facts)["note"]


@pytest.mark.parametrize("state", ["paused", "dead", "removing"])
def test_what_cannot_be_restarted_gets_no_card_and_no_command(state):
    engine = Engine(state={"state": state})
    for attempt in (impact, restart_container.function):
        with pytest.raises(BadArguments, match=f"is {state}"):
            attempt(context(engine), HOST, WEB)
    assert engine.sent == []


@pytest.mark.parametrize("change", [{"started_at": "2026-11-23T04:30:00Z"}, {"id": "d" * 64}, {"state": "exited"}])
def test_a_restart_or_a_replacement_by_others_changes_the_fingerprint(change):
    engine = Engine()
    before = impact(context(engine), HOST, WEB).fingerprint
    assert impact(context(engine), HOST, WEB).fingerprint == before
    engine.state |= change
    assert impact(context(engine), HOST, WEB).fingerprint != before


def test_a_container_that_keeps_falling_over_does_not_drift_by_that():
    engine = Engine(state={"state": "restarting"})
    before = impact(context(engine), HOST, WEB).fingerprint
    engine.state["started_at"] = "2026-11-23T04:59:00Z"
    assert impact(context(engine), HOST, WEB).fingerprint == before


# --- the verdict -----------------------------------------------------------------------------------------------------


def test_the_same_container_in_a_new_run_that_lasts_is_done():
    outcome = restarted(Engine())
    assert (outcome.result, outcome.summary, outcome.evidence) == (Result.DONE, "web was restarted and is running", "")
    assert dict(outcome.facts)["running since"].startswith("2026-11-23 05:00:00 UTC")


def test_a_health_check_that_has_not_spoken_is_waited_for():
    engine = Engine(after=ended(health={"Status": "starting", "Log": None}))
    looks = iter(range(1000))

    def heal(engine: Engine) -> None:
        if next(looks) == 20:
            engine.state["health"] = {"Status": "healthy", "Log": []}

    engine.looked = heal
    outcome = restarted(engine)
    assert (outcome.result, outcome.summary) == (Result.DONE, "web was restarted and is running (healthy)")


def test_a_health_check_that_never_speaks_is_unknown():
    outcome = restarted(Engine(after=ended(health={"Status": "starting", "Log": None})))
    assert (outcome.result, "last seen running (starting)" in outcome.summary) == (Result.UNKNOWN, True)


def test_an_unhealthy_container_is_failed_with_its_log_and_what_the_check_said():
    outcome = restarted(Engine(after=ended(health={"Status": "unhealthy", "Log": [{"Output": "503\n\x1b[31m"}]})))
    assert (outcome.result, outcome.summary) == (Result.FAILED, "web runs again, but is unhealthy")
    assert outcome.evidence.splitlines() == [
        "2026-11-23T04:00:01Z first",
        "2026-11-23T04:00:02Z second",
        "health check: 503",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "exited", "exit_status": 3}, "did not come back: exited (status 3)"),
        ({"state": "exited", "exit_status": 0}, "did not come back: exited (status 0)"),
        ({"state": "restarting"}, "did not come back: restarting"),
        ({"id": "d" * 64}, "is another container now"),
    ],
)
def test_what_does_not_come_back_as_it_was_is_failed(change, words):
    outcome = restarted(Engine(after=ended(**change)))
    assert (outcome.result, words in outcome.summary) == (Result.FAILED, True)
    assert "first" in outcome.evidence


def test_a_container_that_was_stopped_and_could_not_be_started_is_failed_though_it_has_no_new_run():
    def stay_down(engine: Engine) -> None:
        engine.state |= {"state": "exited", "exit_status": 137, "error": "port is already allocated"}

    outcome = restarted(Engine(after=stay_down))
    assert outcome.result is Result.FAILED
    assert outcome.summary == (
        "web was stopped and did not start again: exited (status 137); port is already allocated"
    )


def test_a_restart_that_the_engine_refuses_says_why():
    engine = Engine()
    before = impact(context(engine), HOST, WEB)

    class Refusing(Engine):
        def _restart(self, argv):
            return CommandResult(argv, 1, "", "Error response from daemon: driver failed programming connectivity")

    engine.__class__ = Refusing
    with pytest.raises(ToolError, match="box-1: docker answered: Error response from daemon: driver failed"):
        restart_container.function(context(engine), HOST, WEB)
    assert verify(context(engine), HOST, before, WEB).result is Result.NOT_DONE


def test_a_container_that_is_gone_is_failed():
    outcome = restarted(Engine(after=lambda engine: engine.state.clear()))
    assert (outcome.result, "is gone" in outcome.summary, outcome.evidence) == (Result.FAILED, True, "")


def test_a_container_that_falls_over_and_is_started_again_is_failed():
    engine = Engine()
    looks = iter(range(1000))
    before = impact(context(engine), HOST, WEB)
    restart_container.function(context(engine), HOST, WEB)
    engine.looked = lambda engine: come_back(engine, started_at=f"2026-11-23T05:00:{next(looks):02}Z")
    assert "fell over" in verify(context(engine), HOST, before, WEB).summary


def test_a_job_that_was_idle_and_ran_to_its_end_is_done():
    engine = Engine(state={"state": "exited"}, after=ended(state="exited", exit_status=0))
    assert restarted(engine).summary == "web ran to its end and is exited (status 0)"


def test_an_untouched_container_is_given_its_time_to_stop_before_it_counts_as_not_restarted():
    engine = Engine(after=lambda engine: None, state={"stop_timeout_s": 20})
    before = impact(context(engine), HOST, WEB)
    engine.commands.clear()
    outcome = verify(context(engine), HOST, before, WEB)
    assert (outcome.result, "the same run goes on" in outcome.summary) == (Result.NOT_DONE, True)
    assert len(engine.commands) >= 20


@pytest.mark.parametrize(("fault", "result"), [(None, Result.DONE), ("down", Result.UNKNOWN)])
def test_after_a_lost_connection_the_host_says_what_happened(fault, result):
    engine = Engine(lost=True)
    before = impact(context(engine), HOST, WEB)
    with pytest.raises(OutcomeUnknown):
        restart_container.function(context(engine), HOST, WEB)
    if fault:
        engine.fault("box-1", fault)
    assert verify(context(engine), HOST, before, WEB).result is result
    assert len(engine.sent) == 1


def test_a_host_that_is_down_gets_no_card():
    engine = Engine()
    engine.fault("box-1", "down")
    with pytest.raises(HostUnreachable):
        impact(context(engine), HOST, WEB)


def test_an_engine_that_answers_nonsense_afterwards_is_unknown():
    engine = Engine()
    before = impact(context(engine), HOST, WEB)
    engine.own = "Error: database is locked"
    outcome = verify(context(engine), HOST, before, WEB)
    assert (outcome.result, "database is locked" in outcome.summary) == (Result.UNKNOWN, True)


@pytest.mark.parametrize(
    ("change", "serves"),
    [({}, True), ({"state": "exited"}, False), ({"health": {"Status": "unhealthy"}}, False),
     ({"health": {"Status": "starting"}}, False), ({"health": {"Status": "healthy"}}, True)],
)  # fmt: skip
def test_only_a_running_healthy_container_serves(change, serves):
    assert available(context(Engine(state=change)), HOST, WEB) is serves


@pytest.mark.parametrize(
    ("printed", "health", "networks"),
    [
        # Docker CLI 28.2.2, to the Docker API of podman 4.3.1.
        (
            '["35058b7a42d6","localhost/box:1","running","2026-11-23T09:09:17.970036838Z",0,false,"",{"Status":"healthy",'
            '"FailingStreak":0,"Log":[{"Start":"2026-11-23T09:09:19.045295402Z","End":"2026-11-23T09:09:19.123294458Z",'
            '"ExitCode":0,"Output":""}]},0,"",false,10,{},{},""]\n',
            "healthy",
            {},
        ),
        # podman 4.3.1: a health check that is none has no status, and networks are null.
        (
            '["f3b7549500f4","localhost/box:1","running","2026-11-23T09:09:17.642093052Z",0,false,"",{"Status":"",'
            '"FailingStreak":0,"Log":null},0,"",false,10,{},null,"shop"]\n',
            "",
            None,
        ),
    ],
)
def test_what_real_engines_print_is_read(printed, health, networks):
    facts = parse_look(printed)
    assert facts is not None
    assert (facts.state, facts.health, facts.fields["networks"]) == ("running", health, networks)
    engine = Engine(state=dict(facts.fields))
    assert dict(impact(context(engine), HOST, WEB).facts)["networks"] == "none"


@given(st.one_of(st.text(), st.lists(st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.none()))))
def test_any_output_is_read_or_refused(value):
    text = value if isinstance(value, str) else json.dumps(value)
    assert parse_look(text) is None or parse_look(text).fields


@given(st.lists(st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.none() | st.text()),
                min_size=len(CONTAINER_FIELDS), max_size=len(CONTAINER_FIELDS)))  # fmt: skip
def test_fields_of_any_kind_still_make_a_card_or_a_refusal(values):
    engine = Engine(state=dict(zip(CONTAINER_FIELDS, values, strict=True)))
    with suppress(ToolError):
        impact(context(engine), HOST, WEB)
