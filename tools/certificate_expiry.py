"""When certificates end, and what is wrong with them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from opsbot import CertificateReport, Context, Host, Table, plain_line, tool

_NAMES_SHOWN = 5
_SHOWN = 40
_ROWS_SHOWN = 200


def _table(results: Mapping[str, Any]) -> Table:
    entries = [(_urgency(entry), name, entry) for name, result in results.items() for entry in result["certificates"]]
    entries.sort(key=lambda row: (row[0], row[1], row[2]["place"]))
    rows = [_row(name, entry) for _, name, entry in entries[:_ROWS_SHOWN]]
    rows += [
        (name, "none listed in the inventory", "", "", "", "", "")
        for name, result in results.items()
        if not result["certificates"]
    ]
    left_out = max(0, len(entries) - _ROWS_SHOWN) + sum(result["not_shown"] for result in results.values())
    headers = ("server", "where", "days left", "ends", "subject", "issuer", "problems")
    return Table(headers, tuple(rows), f"{left_out} more not shown" if left_out else "")


def _row(host: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    if entry["failure"]:
        return (host, entry["place"], "unknown", "", "", "", entry["failure"])
    ends = entry["not_after"][:10]
    problems = "; ".join(entry["problems"]) or "none"
    return (host, entry["place"], str(entry["days_left"]), ends, entry["subject"], entry["issuer"], problems)


def _urgency(entry: Mapping[str, Any]) -> float:
    """What could not be read may be the worst: it comes right after what has expired."""
    return 0 if entry["days_left"] is None else float(entry["days_left"])


@tool(risk="read", timeout_s=25, table=_table, deferred=True)
def certificate_expiry(ctx: Context, host: Host) -> dict[str, object]:
    """Report the certificates the inventory lists for a server, files and TLS endpoints, the next to expire first.

    `days_left` is below 0 for an expired one, null if it could not be read (`failure` says why). `verified`: whether
    the bot's trust store accepts the endpoint. `problems`: chain, name, key and time.
    """
    now = datetime.now(UTC)
    entries = [_entry(report, now) for report in ctx.certificates(host)]
    entries.sort(key=lambda entry: (_urgency(entry), str(entry["place"])))
    return {"certificates": entries[:_SHOWN], "not_shown": max(0, len(entries) - _SHOWN)}


def _entry(report: CertificateReport, now: datetime) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "place": plain_line(report.place, limit=255),
        "failure": report.failure,
        "days_left": None,
        "problems": list(report.problems),
    }
    if not report.chain:
        return entry
    first = report.chain[0]
    soonest = min(certificate.not_after for certificate in report.chain)
    if soonest < first.not_after:
        entry["problems"].append(f"another certificate of its chain ends first, on {soonest:%Y-%m-%d}")
    return entry | {
        "days_left": (first.not_after - now).days,
        "not_before": first.not_before.isoformat(),
        "not_after": first.not_after.isoformat(),
        "subject": first.subject,
        "issuer": first.issuer,
        "names": list(first.names[:_NAMES_SHOWN]),
        "names_not_shown": max(0, len(first.names) - _NAMES_SHOWN),
        "key": first.key,
        "sha256": first.sha256,
        "chain_length": len(report.chain),
        "verified": report.verified,
    }
