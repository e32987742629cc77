"""opsbot: what a tool file may import. Names load on first use, so that `opsbot --help` stays instant (ADR 0003)."""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "opsbot.domain": (
        "CertificateReport",
        "Chart",
        "CheckResult",
        "CommandResult",
        "Connection",
        "HealthCheck",
        "History",
        "Host",
        "HostOutcome",
        "HostVerb",
        "Impact",
        "LogLine",
        "Metric",
        "Result",
        "Sample",
        "Series",
        "ServerFacts",
        "Table",
        "UnitFacts",
        "UnitVerb",
        "Vitals",
    ),
    "opsbot.errors": (
        "BadArguments",
        "CommandFailed",
        "CommandTimedOut",
        "HostUnreachable",
        "OutcomeUnknown",
        "ToolError",
        "UnknownHost",
    ),
    "opsbot.looks": (
        "CONTAINER",
        "NUMBER",
        "PATH",
        "TIME",
        "UNIT",
        "Look",
        "container_looks",
        "script_look",
    ),
    "opsbot.passages": ("Found", "Kind", "Searched"),
    "opsbot.readable": (
        "duration_text",
        "percent_text",
        "plain_line",
        "size_text",
        "time_text",
        "unit_in_cgroup",
    ),
    "opsbot.root_commands": (
        "CONTAINER_FIELDS",
        "as_root",
        "container_log",
        "container_look",
        "container_restart",
        "kill_command",
        "reboot_command",
        "sudoers_rule",
    ),
    "opsbot.service_actions": (
        "PATIENT_LOOKS",
        "ServiceEnd",
        "ServiceRules",
        "act_on_service",
        "check_startable",
        "check_systemd",
        "check_there",
        "judge_service",
        "looks_for",
        "refused_by_sudo",
        "same_run",
        "service_card",
        "service_details",
        "service_fingerprint",
        "service_looks",
        "service_serves",
        "start_failure",
        "state_text",
    ),
    "opsbot.trends": (
        "LevelStep",
        "evened",
        "last_step",
        "pauses",
        "percentile",
        "reboots",
        "since_when",
        "slope_per_hour",
        "spells",
    ),
    "opsbot.context": ("Context",),
    "opsbot.tooling": ("Container", "Unit", "tool"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'opsbot' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
