"""What the team wrote down about a problem, and what past incidents were like it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from opsbot import Context, Found, Kind, Searched, Table, ToolError, plain_line, tool

_SHOWN = 5
_INCIDENTS_SHOWN = 4
_REPORT_CHARS = 8000

Question = Annotated[str, Field(min_length=2, max_length=500)]


def _table(results: Mapping[str, Any]) -> Table:
    """Say to people that nothing was found: what is found is shown as text."""
    (result,) = results.values()
    known = result.get("runbooks", result.get("known", 0))
    return Table(("result",), ((f"Nothing among {known} fits. {result.get('note', '')}".strip(),),))


@tool(risk="read", timeout_s=15, table=_table)
def search_runbooks(ctx: Context, query: Question) -> dict[str, object]:
    """Search the team's runbooks for how a problem is handled here. Cite file and heading as given.

    Args:
        query: Symptom, service and exact error words.
    """
    searched = ctx.search(Kind.RUNBOOK, query, limit=_SHOWN)
    if not searched.documents:
        raise ToolError(
            "There are no runbooks: `runbooks.folder` in the configuration names a folder of Markdown files."
        )
    passages = [_passage(found) for found in searched.found]
    return {"passages": passages, "runbooks": searched.documents, **_how(searched)}


@tool(risk="read", timeout_s=15, deferred=True, table=_table)
def similar_incidents(ctx: Context, query: Question, report: str | None = None) -> dict[str, object]:
    """Find past incidents like this one, with their causes; what helped then is a lead, not a proof.

    Args:
        query: Symptom, service and server, in a few words.
        report: Id of a past incident, for its report in full.
    """
    if report is not None:
        return {"incidents": [_report(ctx, report)], "known": 1}
    searched = ctx.search(Kind.INCIDENT, query, limit=_INCIDENTS_SHOWN)
    incidents = [_incident(ctx, found) for found in searched.found]
    return {"incidents": incidents, "known": searched.documents, **_how(searched)}


def _passage(found: Found) -> dict[str, object]:
    return {
        "cite": found.cite,
        "file": found.document,
        "heading": found.heading,
        "line": found.line,
        "score": round(found.score, 3),
        "text": found.text,
    }


def _incident(ctx: Context, found: Found) -> dict[str, object]:
    known = ctx.incident(found.document)
    facts: Mapping[str, Any] = {}
    if known is not None:
        facts = {
            "closed_at": known.closed_at,
            "services": list(known.services),
            "hosts": list(known.hosts),
            "causes": list(known.causes),
        }
    return {"id": found.document, "title": found.title, "score": round(found.score, 3), **facts, "text": found.text}


def _report(ctx: Context, incident_id: str) -> dict[str, object]:
    known = ctx.incident(incident_id)
    if known is None:
        raise ToolError(
            f"There is no past incident {plain_line(incident_id, limit=80)!r}; search without `report` first."
        )
    return {"id": known.id, "title": known.title, "closed_at": known.closed_at, "text": known.markdown[:_REPORT_CHARS]}


def _how(searched: Searched) -> dict[str, object]:
    """Say how it was searched, and plainly if nothing was found."""
    said: dict[str, object] = {"searched": "by meaning and words" if searched.by_meaning else "by words alone"}
    if searched.note:
        said["note"] = searched.note
    if not searched.found:
        said["result"] = "nothing fits"
    return said
