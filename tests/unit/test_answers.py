"""Tables of commands: what people are shown of a reading tool's answer."""

from collections.abc import Mapping

from opsbot.actions import Prepared
from opsbot.answers import read_report
from opsbot.context import Context
from opsbot.domain import Action, Host, Risk, Table
from opsbot.intake import Intake
from opsbot.reads import FanOut
from opsbot.redact import Redactor
from opsbot.tooling import tool


def _table(results: Mapping[str, list[str]]) -> Table:
    return Table(("host", "mount", "used"), tuple((host, *row) for host, row in results.items()), "Disks")


@tool(risk=Risk.READ, timeout_s=1, table=_table)
def disks(ctx: Context, host: Host) -> list[str]:
    """Say how full disks are."""
    return []


def report(*names: str) -> Table:
    hosts = tuple(Host(name) for name in names)
    prepared = Prepared(disks, Action("disks", {}, names), hosts)
    (table,) = read_report(prepared, FanOut({name: ["/", "9%"] for name in names}, {}), Intake(Redactor(()))).tables
    return table


def test_one_host_is_named_above_its_rows() -> None:
    assert report("one") == Table(("mount", "used"), (("/", "9%"),), "Disks on one")


def test_several_hosts_are_named_in_their_rows() -> None:
    assert report("one", "two").headers == ("host", "mount", "used")
