"""Rules of names: what a list of them selects, and what an unknown one is answered."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.domain import HealthCheck, Host
from opsbot.errors import BadArguments, UnknownHost
from opsbot.inventory import Inventory


def host(name: str, **facts: object) -> Host:
    return Host(name=name, address=f"10.0.0.{len(name)}", **facts)  # type: ignore[arg-type]


SMALL = Inventory(
    {name: host(name, groups=("web",), units=("nginx",)) for name in ("web-2", "web-1")} | {"db-1": host("db-1")},
    {"web": ("web-2", "web-1"), "spare": ()},
)
LARGE = Inventory({f"node-{i:04d}": host(f"node-{i:04d}") for i in range(1000)}, {"g": ("node-0001",)})


def names(*wanted: str) -> list[str]:
    return [found.name for found in SMALL.resolve(wanted)]


def test_hosts_groups_and_all_resolve_sorted_and_once() -> None:
    assert names("web-2", "db-1") == ["db-1", "web-2"]
    assert names("web", "web-1") == ["web-1", "web-2"]
    assert names("all") == ["db-1", "web-1", "web-2"]


@pytest.mark.parametrize("wanted", [(), ("spare",)])
def test_empty_selection_never_means_all(wanted: tuple[str, ...]) -> None:
    with pytest.raises(BadArguments, match="empty selection never means all"):
        SMALL.resolve(wanted)


@pytest.mark.parametrize(
    "hostile",
    ["web-*", "web-[12]", "root@web-1", "-oProxyCommand=x", "", "web-1 ", "web-1\n", "192.0.2.7", "::1", "web-1;id",
     "w\u0435b-1", "../web-1", "a" * 5000, "\x1b[31mweb-1"],
)  # fmt: skip
def test_anything_but_a_name_is_refused_printable_and_short(hostile: str) -> None:
    with pytest.raises(BadArguments, match="is not a name") as caught:
        SMALL.resolve([hostile])
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_one_unknown_name_refuses_the_whole_selection() -> None:
    with pytest.raises(UnknownHost):
        SMALL.resolve(["web-1", "web-9"])


@pytest.mark.parametrize(
    ("wrong", "near"), [("web1", "web-1"), ("WEB-1", "web-1"), ("wbe-2", "web-2"), ("db1", "db-1"), ("al", "all")]
)
def test_near_miss_is_suggested_first(wrong: str, near: str) -> None:
    with pytest.raises(UnknownHost) as caught:
        SMALL.resolve([wrong])
    assert caught.value.near[0] == near
    assert near in str(caught.value)


def test_name_like_nothing_gets_no_suggestion() -> None:
    with pytest.raises(UnknownHost) as caught:
        SMALL.resolve(["kubernetes"])
    assert caught.value.near == ()


def test_address_of_a_host_is_answered_with_its_name() -> None:
    with pytest.raises(UnknownHost) as caught:
        SMALL.resolve(["10.0.0.4"])
    assert caught.value.near == ("db-1",)


def test_near_misses_among_a_thousand_hosts_cost_little() -> None:
    times = []
    for _ in range(20):
        start = time.process_time()
        with pytest.raises(UnknownHost):
            LARGE.resolve(["nod-0042"])
        times.append(time.process_time() - start)
    # 5 ms on a quiet machine; the best of many, with room for a busy one.
    assert min(times) < 0.015


TAGGED = Inventory(
    {
        "web-1": host("web-1", tags=("edge", "eu")),
        "web-2": host("web-2", tags=("edge",)),
        "db-1": host("db-1", tags=("primary", "web-1", "tag")),
        "all-in": host("all-in", tags=("all",)),
    },
    {"web": ("web-1", "web-2")},
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["tag:edge"], ["web-1", "web-2"]),
        (["tag:eu", "db-1"], ["db-1", "web-1"]),
        (["tag:tag"], ["db-1"]),
        (["tag:web-1"], ["db-1"]),  # a tag of a host's name is still only a tag
        (["web-1"], ["web-1"]),
        (["tag:all"], ["all-in"]),
    ],
)
def test_tag_selects_the_hosts_that_carry_it_and_nothing_else(wanted: list[str], found: list[str]) -> None:
    assert [each.name for each in TAGGED.resolve(wanted)] == found


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("tag:edg", ("tag:edge",)),
        ("tag:Primary", ("tag:primary",)),
        ("tag:web", ("web", "tag:web-1")),
        ("edge", ("tag:edge",)),
        ("tag:kubernetes", ()),
    ],
)
def test_unknown_tag_is_answered_with_tags_as_they_are_written(wrong: str, near: tuple[str, ...]) -> None:
    with pytest.raises(UnknownHost) as caught:
        TAGGED.resolve([wrong])
    assert caught.value.near == near


@pytest.mark.parametrize("hostile", ["tag:", "tag:*", "tag:tag:edge", "TAG:edge", "tag: edge", "tag:edge,eu", "tag:-o"])
def test_what_only_resembles_a_tag_is_no_name(hostile: str) -> None:
    with pytest.raises(BadArguments, match="is not a name"):
        TAGGED.resolve([hostile])


def test_summary_names_tags_as_they_select() -> None:
    lines = TAGGED.summary(40).splitlines()
    assert lines[1] == "Tags (as tag:WORD): all (1), edge (2), eu (1), primary (1), tag (1), web-1 (1)"
    assert "- web-1: default; tags edge, eu" in lines


def test_groups_with_a_host() -> None:
    assert SMALL.groups_with("web-1") == ("web",)
    assert SMALL.groups_with("db-1") == ()


def test_revision_depends_on_content_and_not_on_order() -> None:
    one = Inventory({"a": host("a"), "b": host("b")}, {"g": ("a", "b")})
    same = Inventory({"b": host("b"), "a": host("a")}, {"g": ("b", "a")})
    assert one.revision == same.revision
    others = [
        Inventory({"a": host("a"), "b": host("b", units=("x",))}, {"g": ("a", "b")}),
        Inventory({"a": host("a"), "b": host("b", health={"x": HealthCheck(tcp="h:1")})}, {"g": ("a", "b")}),
        Inventory({"a": host("a"), "b": host("b")}, {"g": ("a",)}),
    ]
    assert len({one.revision, *(other.revision for other in others)}) == 4


def test_summary_names_every_host_of_a_small_inventory() -> None:
    assert SMALL.summary(40).splitlines() == [
        "Groups: spare (0), web (2)",
        "- db-1: default",
        "- web-1: default; groups web; may restart nginx",
        "- web-2: default; groups web; may restart nginx",
    ]


def test_summary_of_a_large_inventory_is_bounded() -> None:
    text = LARGE.summary(40)
    assert len(text) < 2000
    assert text.startswith("1000 hosts (default: 1000)")
    assert "list_hosts" in text


@given(st.lists(st.sampled_from(["web-1", "web-2", "db-1", "web", "all"]), min_size=1))
def test_selection_is_the_union_of_its_names(wanted: list[str]) -> None:
    expected = {found for name in wanted for found in SMALL.resolve([name])}
    assert set(SMALL.resolve(wanted)) == expected


@given(st.text())
def test_any_string_that_is_not_a_name_is_refused(name: str) -> None:
    if name in {*SMALL.hosts, *SMALL.groups, "all"}:
        return
    with pytest.raises(BadArguments) as caught:
        SMALL.resolve([name])
    assert len(str(caught.value)) < 700
