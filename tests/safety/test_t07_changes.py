"""T07: whatever of an approved action changes before it runs, it does not run, and says which field changed."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import pytest
import rfc8785

from opsbot.bindings import FREE_HOST_FIELDS, digest
from opsbot.discovery import Registry
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Connection,
    HealthCheck,
    Host,
    Place,
    Risk,
    Rollout,
    ServiceManager,
)
from opsbot.holds import Hold, HoldKind, Scope, Where, new_id
from opsbot.inventory import Inventory
from opsbot.policy import ApproverRule
from tests.records import entry
from tests.safety.conftest import Figures
from tests.safety.decided import approved_only
from tests.scenario.house import ALICE, BOB, CAROL, GROUPS, HOSTS, RULES, House, World

NGINX = ("web-1", "nginx.service")


@dataclass
class Approved:
    """A request of Alice's that Bob approved and nothing has begun of: what happens to it decides whether it runs."""

    house: House
    approval: Approval

    async def edit(self, **changes: object) -> None:
        """Write other things into the record, as somebody with the database would who cannot seal it."""
        self.house.world.store.approvals.stored[self.approval.id] = replace(self.approval, **changes)

    def inventory(self, **hosts: Host | None) -> None:
        names = HOSTS | self.house.catalogue.inventory.hosts | {name.replace("_", "-"): h for name, h in hosts.items()}
        self.house.catalogue.inventory = Inventory({n: h for n, h in names.items() if h is not None}, GROUPS)

    def tool(self, **changes: object) -> None:
        tools = self.house.catalogue.registry.tools
        self.house.catalogue.registry = Registry(
            tuple(replace(each, **changes) if each.name == self.approval.action.tool else each for each in tools)
        )

    def rules(self, **changes: object) -> None:
        self.house.service._parts.executor.scrutiny.rules = replace(RULES, **changes)

    async def begun(self) -> Approval:
        """Let the bot come to it, and return it as it ended."""
        await self.house.passes(6)
        found = await self.house.world.store.approvals.get(self.approval.id)
        assert found is not None
        return found


@pytest.fixture
async def approved():
    house = House(World())
    await house.start()
    await house.types(ALICE, "restart nginx web because it leaks")
    approval = await approved_only(house)
    yield Approved(house, approval)
    await house.stop()


def edited(**changes: object) -> Callable[[Approved], object]:
    return lambda it: it.edit(**changes)


def host_with(**changes: object) -> Callable[[Approved], object]:
    return lambda it: it.inventory(web_1=replace(HOSTS["web-1"], **changes))


OTHERS = {
    "name": "web-9",
    "port": 2222,
    "sudo": False,
    "connection": Connection.LOCAL,
    "service_manager": ServiceManager.SUPERVISORD,
    "health": {"nginx.service": HealthCheck("http://127.0.0.1/")},
    "units": ("nginx", "redis-server"),
    "actions": ("restart", "reboot"),
}
# What cannot be another value without being another host, or something the checks before already refuse.
ELSEWHERE = {"name", "service_manager"}


def host_fields() -> list[str]:
    return [each.name for each in fields(Host) if each.name not in FREE_HOST_FIELDS | ELSEWHERE]


def _other(name: str) -> object:
    return OTHERS.get(name, ("other",) if isinstance(getattr(HOSTS["web-1"], name), tuple) else "other")


def _raised(it: Approved) -> None:
    bindings = {**it.approval.bindings, "needed": "0"}
    it.house.world.store.approvals.stored[it.approval.id] = replace(
        it.approval, needed=0, bindings=bindings, digest="0" * 64
    )


def _forged_reach(it: Approved) -> None:
    """Whoever can write both the field and the bindings still has to hit the digest people approved."""
    bindings = {**it.approval.bindings, "arguments": rfc8785.dumps({"unit": "brittle.service"}).decode()}
    it.house.world.store.approvals.stored[it.approval.id] = replace(
        it.approval, action=replace(it.approval.action, arguments={"unit": "brittle.service"}), bindings=bindings
    )


def held(kind: HoldKind, scope: Scope) -> Callable[[Approved], object]:
    """Let somebody stop or freeze it."""
    return lambda it: it.house.world.store.holds.add(
        Hold(new_id(), kind, scope, BOB.key, it.house.world.clock.now()), entry()
    )


CHANGES: dict[str, tuple[Callable[[Approved], object], str]] = {
    "the tool's file": (lambda it: it.tool(sha256="e" * 64), "tool_file"),
    "the tool is another": (lambda it: it.edit(action=replace(it.approval.action, tool="start_service")), "tool"),
    "the arguments": (
        lambda it: it.edit(action=replace(it.approval.action, arguments={"unit": "nginx.timer"})),
        "inventory",
    ),
    "one host more": (
        lambda it: it.edit(action=replace(it.approval.action, hosts=("db-1", "web-1", "web-2"))),
        "inventory",
    ),
    "one host less": (lambda it: it.edit(action=replace(it.approval.action, hosts=("web-1",))), "tier|hosts"),
    "a host's key": (host_with(host_key="k9"), "host_keys"),
    "a host left the inventory": (lambda it: it.inventory(web_1=None), "inventory"),
    "the unit may not be touched any more": (host_with(units=()), "inventory"),
    "a host on the way": (host_with(jump="lab-1"), "host_records|host_keys"),
    "who may ask": (lambda it: it.rules(asker_users=frozenset({"UBOB"})), "policy"),
    "who may approve": (
        lambda it: it.rules(approvers=(ApproverRule(("production",), users=frozenset({"UCAROL"})),)),
        "policy",
    ),
    "how many must approve": (
        lambda it: it.rules(approvers=(replace(RULES.approvers[0], needed=2),)),
        "policy",
    ),
    "a limit": (lambda it: it.rules(hosts_per_action=3), "policy"),
    "fewer hosts at a time": (lambda it: it.rules(hosts_per_action=1), "policy"),
    "for how long approvals may count": (lambda it: it.rules(standing_minutes=5), "policy"),
    "how it goes over hosts": (lambda it: it.rules(rollout=Rollout(batch=2)), "rollout"),
    "the risk of the tool": (lambda it: it.tool(risk=Risk.READ), "policy|inventory"),
    "the target": (lambda it: setattr(it.house.world.machines.unit("web-1", "nginx"), "run", 99), "target"),
    "the target cannot be seen": (lambda it: it.house.world.machines.fault("web-1", "down"), "target"),
    "a stop": (held(HoldKind.STOP, Scope(Where.ALL)), "stop"),
    "a freeze of everything": (held(HoldKind.FREEZE, Scope(Where.ALL)), "freeze"),
    "a freeze of a group": (held(HoldKind.FREEZE, Scope(Where.GROUP, "web", hosts=("web-1", "web-2"))), "freeze"),
    "a freeze of one of its hosts": (held(HoldKind.FREEZE, Scope(Where.HOST, "web-2", hosts=("web-2",))), "freeze"),
    "the expiry": (lambda it: it.edit(expires_at=it.approval.expires_at.replace(year=2030)), "expires_at"),
    "the clocks at its beginning": (
        lambda it: it.edit(opened=replace(it.approval.opened, monotonic_s=999.0)),
        "opened",
    ),
    "who asked": (edited(requester=Actor("T1", "UBOB")), "requester"),
    "the reason": (edited(reason="it is slow"), "reason"),
    "the place": (edited(place=Place("T1", "C9", "1.0")), "place"),
    "the needed approvals": (edited(needed=0), "needed"),
    "the approvers": (edited(approver_users=frozenset({"UBOB", "UCAROL"})), "approvers"),
    "the approving groups": (edited(approver_groups=frozenset({"SALL"})), "approvers"),
    "the rule": (edited(rule="approvers:lab"), "approvers"),
    "what was read before": (edited(tainted_by=("service_logs",)), "tainted_by"),
    "what it stands on": (edited(stands_on="ABCD2345"), "stands_on"),
    "what was shown of the target": (
        lambda it: it.edit(impacts={n: replace(i, facts=(("state", "fine"),)) for n, i in it.approval.impacts.items()}),
        "target",
    ),
    "how much can break": (edited(reach=None), "tier"),
    "the reviews": (edited(reviews=()), "approver"),
    "a review by somebody who may not": (
        lambda it: it.edit(reviews=(replace(it.approval.reviews[0], actor=CAROL),)),
        "approver",
    ),
    "a review of the requester's own": (
        lambda it: it.edit(reviews=(replace(it.approval.reviews[0], actor=ALICE),)),
        "approver",
    ),
    "the digest": (edited(digest="0" * 64), "digest"),
    "a field and its binding": (_raised, "digest"),
    "the arguments and their binding": (_forged_reach, "inventory|digest"),
    **{
        f"host field {name}": (host_with(**{name: _other(name)}), "host_records|inventory|policy")
        for name in host_fields()
    },
}


async def test_unchanged_it_runs(approved: Approved) -> None:
    assert (await approved.begun()).state is ApprovalState.DONE
    assert approved.house.world.machines.restarts[NGINX] == 1


@pytest.mark.parametrize(("change", "field"), CHANGES.values(), ids=CHANGES.keys())
async def test_any_change_after_the_approval_is_stale_by_name(
    approved: Approved, change: Callable[[Approved], object], field: str, figures: Figures
) -> None:
    made = change(approved)
    if made is not None:
        await made  # type: ignore[misc]
    final = await approved.begun()
    assert final.state is ApprovalState.STALE, final
    assert final.note.split(":")[:1] == ["stale"]
    assert final.note.split(":")[1] in field.split("|"), final.note
    assert not approved.house.world.machines.restarts
    figures.note(changes_refused_by_name=f"{len(CHANGES)} of {len(CHANGES)}")


async def test_every_bound_field_is_changed_by_some_row_of_the_table(approved: Approved) -> None:
    """A field bound one day has to get a row here."""
    covered = {name for _, field in CHANGES.values() for name in field.split("|")}
    # `hosts`: other hosts are another tier, or not what the inventory allows, before they are other hosts.
    assert set(approved.approval.bindings) - covered - {"request", "arguments"} == set()


async def test_a_digest_fits_one_request_only(approved: Approved) -> None:
    """Two requests for the same thing differ, so that the approval of one is never that of the other."""
    twin = replace(approved.approval, id="TWIN2345")
    approved.house.world.store.approvals.stored = {twin.id: twin}
    approved.approval = twin
    final = await approved.begun()
    assert final.note.startswith("stale:request:")


@pytest.mark.parametrize("left_out", ["tool", "host_keys", "policy", "expires_at", "target"])
async def test_a_binding_that_is_left_out_is_missed(approved: Approved, left_out: str) -> None:
    bindings = {name: value for name, value in approved.approval.bindings.items() if name != left_out}
    await approved.edit(bindings=bindings, digest=digest(bindings))
    final = await approved.begun()
    assert final.note.startswith(f"stale:{left_out}:")
