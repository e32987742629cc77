"""What an approval binds, field by field: all that an approver agrees to, as text or hash, and its digest. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields

import rfc8785

from opsbot.actions import Prepared
from opsbot.domain import Approval, HealthCheck, Host, Impact, Json
from opsbot.errors import Stale
from opsbot.policy import PolicyRules, tier_text
from opsbot.rollout import agreed_text

# What of a host says nothing about an action: what only reading tools look at. The key of the host is bound by a name
# of its own.
FREE_HOST_FIELDS = frozenset({"certificates", "config_files", "dns_names", "host_key"})


def bind(prepared: Prepared, rules: PolicyRules) -> dict[str, str]:
    """Name what would run now, and by which rules (T07 of the threat table)."""
    action = prepared.action
    hosts = sorted({*prepared.hosts, *prepared.via}, key=lambda host: host.name)
    return {
        "tool": action.tool,
        "tool_file": prepared.tool.sha256,
        "arguments": rfc8785.dumps(dict(action.arguments)).decode(),
        "hosts": ",".join(action.hosts),
        "host_keys": _hash([[host.name, _fingerprint(host)] for host in hosts]),
        "host_records": _hash([_record(host) for host in hosts]),
        "policy": rules.revision,
        "rollout": agreed_text(rules.rollout, len(prepared.hosts)),
    }


def bind_own(approval: Approval) -> dict[str, str]:
    """Name what the record itself says: who asked, who decides, by when, and what approvers were shown."""
    opened = approval.opened
    clocks = [opened.at.isoformat(), opened.machine, opened.boot_id, str(opened.monotonic_s)] if opened else []
    return {
        "request": approval.id,
        "place": approval.place.key,
        "requester": approval.requester.key,
        "needed": str(approval.needed),
        "approvers": _hash(
            [approval.rule, [*sorted(approval.approver_users)], [*sorted(approval.approver_groups)]],
        ),
        "reason": approval.reason,
        "opened": _hash([*clocks]),
        "expires_at": approval.expires_at.isoformat(),
        "tier": tier_text(approval.reach) if approval.reach else "",
        "tainted_by": ", ".join(approval.tainted_by),
        "stands_on": approval.stands_on,
        "target": _hash([[name, *_impact(impact)] for name, impact in sorted(approval.impacts.items())]),
    }


def digest(bindings: Mapping[str, str]) -> str:
    """Hex SHA-256 over the canonical JSON (RFC 8785) of the bindings."""
    return hashlib.sha256(rfc8785.dumps(dict(bindings))).hexdigest()


def check_unchanged(approval: Approval, current: Mapping[str, str]) -> None:
    """Compare what was approved with what would run now.

    Raises:
        Stale: the record was altered, or a bound field differs; the text names it.
    """
    expected = dict(approval.bindings)
    found = dict(current) | bind_own(approval)
    for name in [*found, *sorted(expected.keys() - found.keys())]:
        if expected.get(name) != found.get(name):
            raise Stale(f"stale:{name}: {name.replace('_', ' ')} changed since this was asked. Ask again.")
    if digest(approval.bindings) != approval.digest:
        raise Stale("stale:digest: the record does not match what was approved. Ask again.")


def _record(host: Host) -> Json:
    """Every field of a host but the free ones: a field added one day is bound until somebody says otherwise."""
    return [
        [field.name, _plain(getattr(host, field.name))] for field in fields(host) if field.name not in FREE_HOST_FIELDS
    ]


def _plain(value: object) -> Json:
    match value:
        case str():
            return str(value)
        case bool() | int():
            return value
        case HealthCheck():
            return [value.url, value.tcp, value.timeout_s]
        case Mapping():
            return [[str(name), _plain(item)] for name, item in sorted(value.items())]
        case Sequence():
            return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _fingerprint(host: Host) -> str:
    return hashlib.sha256(host.host_key.encode()).hexdigest()


def _impact(impact: Impact) -> list[Json]:
    facts: Json = [[name, value] for name, value in impact.facts]
    return [facts, [[name, value] for name, value in sorted(impact.fingerprint.items())]]


def _hash(content: Json) -> str:
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()
