"""How much an action can break: the tier of every combination of hosts, groups, units and data stores."""

import itertools

import pytest

from opsbot.domain import Host, Risk, ServiceManager, Tier
from opsbot.inventory import Inventory
from opsbot.reach import Target, reach_of

NGINX, REDIS = Target("nginx.service"), Target("redis.service")
HOSTS = {
    "web-1": Host("web-1", units=("nginx",), containers=("cache",)),
    "web-2": Host("web-2", units=("nginx.service",), containers=("cache",)),
    "web-3": Host("web-3"),
    "db-1": Host("db-1", units=("redis", "nginx"), data_stores=("redis",)),
    "safe-1": Host("safe-1", units=("nginx",), data_stores=("*",)),
    "alone-1": Host("alone-1", units=("nginx",)),
    "sup-1": Host("sup-1", units=("nginx",), service_manager=ServiceManager.SUPERVISORD),
}
GROUPS = {"web": ("web-1", "web-2", "web-3"), "db": ("db-1",), "sup": ("sup-1",)}
INVENTORY = Inventory(HOSTS, GROUPS)


def reach(hosts: str, target: Target | None, risk: Risk = Risk.CHANGE):
    return reach_of(INVENTORY, risk, [HOSTS[name] for name in hosts.split()], [target] if target else [])


@pytest.mark.parametrize(
    ("hosts", "target", "tier", "why"),
    [
        ("web-1", NGINX, Tier.REPLICA, "web-2 of group web with nginx.service is not touched"),
        ("web-1 web-2", NGINX, Tier.LAST_REPLICA, "no host of group web with nginx.service is left untouched"),
        ("web-1", Target("x.service"), Tier.LAST_REPLICA, "web-1 is the only host of group web with x.service"),
        ("web-1", Target("cache", container=True), Tier.REPLICA, "web-2 of group web with cache is not touched"),
        ("web-1", None, Tier.REPLICA, "web-2, web-3 of group web are not touched"),
        ("web-1 web-2 web-3", None, Tier.LAST_REPLICA, "no host of group web is left untouched"),
        ("db-1", NGINX, Tier.LAST_REPLICA, "db-1 is the only host of group db with nginx.service"),
        ("db-1", REDIS, Tier.DATA_STORE, "redis.service on db-1 keeps data"),
        ("db-1", None, Tier.DATA_STORE, "the host on db-1 keeps data"),
        ("safe-1", NGINX, Tier.DATA_STORE, "nginx.service on safe-1 keeps data"),
        ("alone-1", NGINX, Tier.UNGROUPED, "alone-1 is in no group, so its replicas are not known"),
        ("sup-1", Target("nginx"), Tier.LAST_REPLICA, "sup-1 is the only host of group sup with nginx"),
        ("web-1 db-1", NGINX, Tier.LAST_REPLICA, "db-1 is the only host of group db with nginx.service"),
        ("web-1 alone-1", NGINX, Tier.UNGROUPED, "alone-1 is in no group, so its replicas are not known"),
    ],
)
def test_the_tier_of_a_change_and_why(hosts, target, tier, why):
    found = reach(hosts, target)
    assert (found.tier, found.why) == (tier, why)


def test_reads_break_nothing():
    assert reach("db-1 safe-1", REDIS, Risk.READ).tier is Tier.READ


def test_a_dangerous_tool_is_danger_at_least():
    assert reach("web-1", NGINX, Risk.DANGER).tier is Tier.DANGER
    assert reach("web-1 web-2", NGINX, Risk.DANGER).why.startswith("the tool is of risk danger; no host of group web")
    assert reach("db-1", REDIS, Risk.DANGER).tier is Tier.DATA_STORE


def test_touching_more_never_breaks_less():
    """Every pair of host sets of which one holds the other (of six hosts), for every target."""
    order = list(Tier)
    names = sorted(HOSTS)
    sets = [set(chosen) for size in range(1, len(names) + 1) for chosen in itertools.combinations(names, size)]
    for target in (NGINX, REDIS, Target("cache", container=True), None):
        tiers = {frozenset(chosen): order.index(reach(" ".join(sorted(chosen)), target).tier) for chosen in sets}
        for chosen in sets:
            assert all(
                tiers[frozenset(chosen)] >= tiers[frozenset(chosen - {one})] for one in chosen if len(chosen) > 1
            )


def test_one_replica_left_is_enough_and_none_is_not():
    for size in range(2, 6):
        hosts = {f"h{n}": Host(f"h{n}", units=("nginx",)) for n in range(size)}
        inventory = Inventory(hosts, {"g": tuple(hosts)})
        for touched in range(1, size + 1):
            found = reach_of(inventory, Risk.CHANGE, list(hosts.values())[:touched], [NGINX])
            assert found.tier is (Tier.REPLICA if touched < size else Tier.LAST_REPLICA)
