"""Rules of the configuration: closed, strict, every fault at once with its line, secrets only by reference."""

import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.config import Config, Secret, load, parse
from opsbot.domain import Connection, HealthCheck, Risk, ServiceManager
from opsbot.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFictionalHostKeyOfWebOneXXXXXXXXXXXXXXXXXXX"
POLICY = 'policy: {askers: {users: ["*"]}, approvers: [{environments: ["*"], users: [U0BOB]}]}\n'


def config(text: str, **environ: str) -> Config:
    return parse(text, environ=environ)


def faults(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, environ=environ)
    return list(caught.value.faults)


def test_shipped_example_loads_clean(tmp_path: Path) -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    key = tmp_path / "keys" / "opsbot_ed25519"
    key.parent.mkdir()
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    environ = {"SLACK_BOT_TOKEN": "xoxb-fictional", "SLACK_APP_TOKEN": "xapp-fictional"}
    loaded = load(tmp_path / "config.yaml", environ)
    assert [*loaded.inventory().hosts] == ["bastion", "build-1", "db-1", "web-1", "web-2"]
    assert loaded.secrets(environ).values() == ("xoxb-fictional", "xapp-fictional")
    assert loaded.model.keyless


def test_shipped_example_shows_the_defaults() -> None:
    """What the file says of a section is what the bot does without the section."""
    shown = config((ROOT / "config.yaml").read_text(encoding="utf-8")).settings
    plain = config("slack: {}\npolicy: {askers: {users: ['*']}}").settings
    assert (shown.slack, shown.model, shown.store) == (plain.slack, plain.model, plain.store)
    assert (shown.limits, shown.log, shown.tools) == (plain.limits, plain.log, plain.tools)
    assert shown.policy.approval_expires_s == plain.policy.approval_expires_s


def test_empty_configuration_is_a_keyless_bot_without_hosts_that_allows_nobody() -> None:
    empty = config("")
    assert empty.slack is None
    assert empty.model.keyless
    assert not empty.inventory().hosts
    rules = empty.rules()
    assert (rules.asker_users, rules.asker_groups, rules.approvers) == (frozenset(), frozenset(), ())
    assert rules.terminal_operator is False


def test_every_fault_is_listed_at_once_with_line_and_way_out() -> None:
    text = """slak: {}
limits:
  rounds: 0
hosts:
  web-1:
    prot: 3
    connection: local
    units: ["-x"]
  web-1:
    connection: local
groups:
  web: [web-1, web-9]
"""
    assert faults(text) == [
        "config.yaml:1: policy.approvers: nobody approves changes in environment 'default' (host web-1 has units); "
        "add a rule for it.",
        "config.yaml:1: slak: there is no such setting; did you mean slack?",
        "config.yaml:3: limits.rounds: should be greater than or equal to 1.",
        "config.yaml:6: hosts.web-1.prot: there is no such setting; did you mean port?",
        "config.yaml:8: hosts.web-1.units[0]: '-x' is not a service name: letters, digits and : _ . @ - only, "
        "starting with a letter or digit, at most 255 characters.",
        "config.yaml:9: 'web-1' is there twice (first in line 5).",
        "config.yaml:12: groups.web[1]: there is no host 'web-9'; did you mean web-1?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # the text itself
        ("a: b: c", "config.yaml:1: not YAML"),
        ("\n\n- x", "config.yaml:3: the top must be settings"),
        ("a: &x 1", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]", "the tag"),
        ("a: !secret x", "the tag"),
        ("[" * 5000, "nested deeper than 20 levels"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a: " + "x" * 1_100_000, "larger than 1024 KiB"),
        ("1: x", "the key '1' is not a plain word"),
        ("? [a]\n: x", "the key a list or mapping is not a plain word"),
        ("slack: {http: {port: 30:00}}", "'30:00' may be read in two ways"),
        ("slack: {http: {port: 0123}}", "'0123' may be read in two ways"),
        ("limits: {tokens: 60_000}", "'60_000' may be read in two ways"),
        ("policy: {terminal_operator: yes}", "write true or false"),
        ("hosts: {a: {address: 2026-11-22}}", "'2026-11-22' may be read in two ways"),
        # settings
        ("limits: {rouns: 3}", "limits.rouns: there is no such setting; did you mean rounds?"),
        ("limits: {zzz: 3}", "here are: actions_per_hour, actions_per_hour_per_person, calls"),
        ("limits: {rounds: '3'}", "limits.rounds: should be a valid integer"),
        ("limits: 3", "limits: must hold settings of its own"),
        ("policy: {approval_expires_s: 1801}", "less than or equal to 1800"),
        ("policy: {approval_expires_s: 29}", "greater than or equal to 30"),
        ("policy: {allow_self_approval: true}", "there is no such setting"),
        ("tools: {folders: mine}", "tools.folders: must be a list"),
        ("log: {level: loud}", "log.level: must be 'debug', 'info', 'warning' or 'error'"),
        ("tools: {risk: {restart_service: none}}", "must be 'read', 'change' or 'danger'"),
        ("history: {every_s: 5}", "history.every_s: use 0 (off) or 10 to 3600 seconds"),
        ("history: {every_s: 3601}", "less than or equal to 3600"),
        # secrets
        ("slack: {bot_token: xoxb-1-abc}", "a secret may not stand here"),
        ("model: {api_key: sk-abc}", "a secret may not stand here; write `{env: NAME}`"),
        ("model: {api_key: {env: A, file: b}}", "name exactly one place"),
        ("model: {api_key: {}}", "name exactly one place"),
        ("model: {api_key: {credential: ../x}}", "write the name systemd knows it by"),
        ("model: {base_url: 'https://user:pw@host/v1'}", "without a login in it"),
        ("store: {url: 'postgresql://u:pw@h/d', audit_key: {env: K}}", "a password may not stand here"),
        ("store: {url: 'mysql://h/d'}", "store.url: does not fit"),
        ("store: {url: 'postgresql://u@h/d'}", "store.audit_key: is missing"),
        ("store: {password: {env: X}}", "SQLite has no password"),
        # people
        ("policy: {askers: {users: [bob]}}", "use member IDs"),
        ("policy: {askers: {groups: [U0BOB]}}", "use user group IDs"),
        ("policy: {approvers: [{environments: [x], users: ['*']}]}", "use member IDs"),
        ("policy: {approvers: [{environments: [x]}]}", "names no approver"),
        ("policy: {approvers: [{environments: [], users: [U0BOB]}]}", "environments: needs at least 1"),
        ("policy: {approvers: [{environments: [x], users: [U0BOB], needed: 2}]}", "2 people must approve, but only 1"),
        ("policy: {approvers: [{environments: [x], users: [U0BOB], needed: 6}]}", "less than or equal to 5"),
        ("slack: {}", "nobody may talk to the bot"),
        # hosts
        ("hosts: {all: {connection: local}}", "`all` always means every host"),
        ("hosts: {a: {connection: local}}\ngroups: {a: [a]}", "is a host and a group"),
        ("hosts: {a: {connection: local, groups: [all]}}", "cannot be a group's name"),
        ("groups: {g: []}", "names no host"),
        ("hosts: {'w*': {connection: local}}", "cannot be a name"),
        ("hosts: {'wеb': {connection: local}}", "hosts.w\\u0435b: cannot be a name"),
        ("hosts: {-a: {connection: local}}", "cannot be a name"),
        ("hosts: {192.0.2.1: {connection: local}}", "give it a name"),
        ("hosts: {a: {user: x, key: k}}", "has no `host_key`"),
        (f"hosts: {{a: {{key: k, host_key: {HOST_KEY}}}}}", "has no `user`"),
        (f"hosts: {{a: {{user: x, host_key: {HOST_KEY}}}}}", "has no `key`"),
        ("hosts: {a: {user: x, key: k, host_key: SHA256:abc}}", "begins with none of ssh-ed25519"),
        ("hosts: {a: {user: x, key: k, host_key: ssh-ed25519 AAAA}}", "is not a complete ssh-ed25519 key"),
        (f"hosts: {{a: {{host_key: {HOST_KEY.replace('ssh-ed25519 ', 'ssh-rsa ')}}}}}", "holds another kind of key"),
        ("hosts: {a: {connection: local, address: root@h}}", "without user or port"),
        ("hosts: {a: {connection: local, user: '-oProxy'}}", "write a login name"),
        ("hosts: {a: {connection: local, units: [x], health: {x: {}}}}", "name exactly one of url and tcp"),
        ("hosts: {a: {connection: local, units: [x], health: {y: {tcp: 'h:1'}}}}", "is not among the units"),
        ("hosts: {a: {connection: local, units: [x], health: {x: {tcp: h}}}}", "write host:port"),
        ("hosts: {a: {connection: local, units: [x]}}", "nobody approves changes in environment 'default'"),
    ],
)  # fmt: skip
def test_fault_is_named(text: str, said: str) -> None:
    found = faults(text)
    assert any(said in fault for fault in found), found
    assert all(fault.startswith("config.yaml:") for fault in found)


@pytest.mark.parametrize("text", ["slack: {bot_token: xoxb-canary}", "model: {api_key: sk-canary}",
                                  "store: {url: 'postgresql://u:canary@h/d'}"])  # fmt: skip
def test_fault_never_repeats_a_literal_secret(text: str) -> None:
    assert "canary" not in "\n".join(faults(text))


def test_hostile_key_is_shown_printable() -> None:
    assert all(fault.isprintable() for fault in faults('"\\u001b[31mhosts\\u202e": 1\nlimits: {"a\\u0007b": 1}'))


def test_hosts_get_defaults_and_say_otherwise() -> None:
    text = f"""{POLICY}
defaults: {{user: opsbot, key: keys/id, port: 2222, environment: production, sudo: false}}
groups: {{europe: [web-1]}}
hosts:
  web-1:
    host_key: {HOST_KEY}
    groups: [web]
    units: [nginx, nginx.service, "worker@1"]
    health: {{nginx: {{url: "http://h/health"}}}}
  me:
    connection: local
    port: 22
    service_manager: supervisord
    service_command: [supervisorctl, -c, /x]
    sudo: true
    units: [demo]
"""
    hosts = config(text).inventory().hosts
    web, me = hosts["web-1"], hosts["me"]
    assert (web.address, web.port, web.user, web.sudo) == ("web-1", 2222, "opsbot", False)
    assert (web.environment, web.groups) == ("production", ("europe", "web"))
    assert web.key_file == str(Path.cwd() / "keys/id")
    assert web.units == ("nginx.service", "worker@1.service")
    assert web.health == {"nginx.service": HealthCheck(url="http://h/health")}
    assert (me.connection, me.service_manager) == (Connection.LOCAL, ServiceManager.SUPERVISORD)
    assert (me.port, me.sudo, me.units, me.key_file) == (22, True, ("demo",), "")


def test_groups_of_hosts_and_of_the_groups_section_are_one() -> None:
    text = "groups: {g: [b]}\nhosts: {a: {connection: local, groups: [g, h]}, b: {connection: local}}"
    assert dict(config(text).inventory().groups) == {"g": ("a", "b"), "h": ("a",)}


def test_rules_carry_people_and_limits() -> None:
    rules = config(POLICY + "limits: {hosts_per_action: 3}").rules()
    assert rules.asker_users == {"*"}
    assert (rules.approvers[0].environments, rules.approvers[0].users) == (("*",), frozenset({"U0BOB"}))
    assert rules.hosts_per_action == 3
    assert config("tools: {risk: {x: danger}}").risks() == {"x": Risk.DANGER}


def test_environment_wins_over_the_file() -> None:
    environ = {
        "SLACK_API_URL": "http://127.0.0.1:9/api/",
        "OPENAI_BASE_URL": "http://127.0.0.1:8/v1",
        "OPSBOT_MODEL": "tiny",
        "OPENAI_API_KEY": "sk-from-env",
    }
    found = config(POLICY + "slack: {}\nmodel: {name: big}", **environ)
    assert found.slack is not None
    assert found.slack.api_url == environ["SLACK_API_URL"]
    assert (found.model.name, found.model.base_url, found.model.keyless) == ("tiny", "http://127.0.0.1:8/v1", False)
    assert "sk-from-env" in found.secrets({**environ, "SLACK_BOT_TOKEN": "b", "SLACK_APP_TOKEN": "a"}).values()


def test_environment_does_not_invent_a_slack_section() -> None:
    assert config("", SLACK_API_URL="http://127.0.0.1:9/api/").slack is None


def test_own_key_reference_wins_over_the_variable() -> None:
    found = config("model: {api_key: {env: MINE}}", OPENAI_API_KEY="other")
    assert found.secrets({"MINE": "mine", "OPENAI_API_KEY": "other"}).values() == ("mine",)


def test_fault_of_a_variable_names_the_variable() -> None:
    assert any("(It comes from $OPENAI_BASE_URL.)" in fault for fault in faults("", OPENAI_BASE_URL="nonsense"))


def test_secrets_come_from_environment_file_and_credential(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "cred").write_text("from-systemd")
    text = POLICY + "slack: {bot_token: {file: token}, app_token: {credential: cred}}\nmodel: {api_key: {env: K}}"
    found = parse(text, folder=tmp_path, environ={})
    secrets = found.secrets({"CREDENTIALS_DIRECTORY": str(tmp_path), "K": " from-env \n"})
    assert secrets.slack_bot_token is not None
    assert secrets.slack_bot_token.reveal() == "from-file"
    assert sorted(secrets.values()) == ["from-env", "from-file", "from-systemd"]


def test_missing_secrets_are_all_listed_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    text = POLICY + "slack:\n  bot_token: {env: NOPE}\n  app_token: {credential: c}\nmodel:\n  api_key: {file: empty}\n"
    with pytest.raises(ConfigError) as caught:
        parse(text, folder=tmp_path, environ={}).secrets({})
    said = "\n".join(sorted(caught.value.faults))
    assert "config.yaml:3: slack.bot_token: the environment variable NOPE is not set" in said
    assert "config.yaml:4: slack.app_token: systemd passed no credentials" in said
    assert "config.yaml:6: model.api_key:" in said
    assert "is empty" in said


def test_only_the_secrets_of_the_mode_are_needed() -> None:
    found = config(POLICY + "slack: {mode: http}")
    assert set(found.secrets({"SLACK_BOT_TOKEN": "b", "SLACK_SIGNING_SECRET": "s"}).values()) == {"b", "s"}
    assert found.secrets({}, slack=False).values() == ()


def test_secret_never_shows() -> None:
    secret = Secret("canary")
    assert "canary" not in f"{secret!r} {secret} {[secret]} {vars(type(secret)).keys()}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_huge_secret_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    with pytest.raises(ConfigError, match="larger than 64 KiB"):
        parse("model: {api_key: {file: big}}", folder=tmp_path, environ={}).secrets({})


def test_key_files_are_checked(tmp_path: Path) -> None:
    def said() -> str:
        text = f"hosts: {{a: {{user: x, key: id, host_key: {HOST_KEY}}}}}"
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "c.yaml", {})
        return str(caught.value)

    assert "cannot be read (No such file or directory)" in said()
    (tmp_path / "id").write_text("ssh-ed25519 AAAA me")
    (tmp_path / "id").chmod(0o644)
    assert "run `chmod 600" in said()
    (tmp_path / "id").chmod(0o600)
    assert "is no private key" in said()


def test_store_addresses(tmp_path: Path) -> None:
    found = parse("store: {url: 'sqlite:///data/x.db'}", folder=tmp_path, environ={})
    assert found.store_url(found.secrets({})) == f"sqlite:///{tmp_path}/data/x.db"
    assert found.audit_key_file() == tmp_path / "data/audit.key"
    text = "store: {url: 'postgresql://u@h:5433/d', password: {env: P}, audit_key: {env: K}}"
    found = parse(text, folder=tmp_path, environ={})
    secrets = found.secrets({"P": "p@ss/word", "K": "ab"})
    assert found.store_url(secrets) == "postgresql://u:p%40ss%2Fword@h:5433/d"
    assert found.audit_key_file() is None
    assert secrets.audit_key is not None


def test_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "latin.yaml", {})


def test_thousand_hosts_load_quickly() -> None:
    hosts = "".join(f"  h{i}: {{connection: local, units: [nginx], groups: [web]}}\n" for i in range(1000))
    start = time.process_time()
    assert len(config(f"{POLICY}hosts:\n{hosts}").inventory().hosts) == 1000
    assert time.process_time() - start < 5


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    try:
        parse(text, environ={})
    except ConfigError as error:
        assert all(fault.startswith("config.yaml:") for fault in error.faults)  # noqa: PT017
