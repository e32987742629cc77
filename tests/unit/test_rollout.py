"""Which hosts come next: the order, the sizes, and that no batch can take away more than may be missing."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.domain import Rollout
from opsbot.rollout import agreed_text, next_batch, planned

SIX = ("h1", "h2", "h3", "h4", "h5", "h6")


def subsets(names):
    return map(frozenset, chain.from_iterable(combinations(names, size) for size in range(len(names) + 1)))


@pytest.mark.parametrize(
    ("rollout", "batches"),
    [
        (Rollout(), [("h1",), ("h2",), ("h3",), ("h4",), ("h5",), ("h6",)]),
        (Rollout(batch=2, max_unavailable=2), [("h1",), ("h2", "h3"), ("h4", "h5"), ("h6",)]),
        (Rollout(canary=2, batch=3, max_unavailable=3), [("h1", "h2"), ("h3", "h4", "h5"), ("h6",)]),
        (Rollout(batch=5, max_unavailable=2), [("h1",), ("h2", "h3"), ("h4", "h5"), ("h6",)]),
        (Rollout(canary=3, max_unavailable=2), [("h1", "h2"), ("h3",), ("h4",), ("h5",), ("h6",)]),
        (Rollout(canary=9, max_unavailable=9), [SIX]),
    ],
)
def test_canaries_come_first_then_batches_bounded_by_who_may_be_missing(rollout, batches):
    assert list(planned(rollout, SIX)) == batches


def test_no_host_is_a_plan_of_no_batches():
    assert planned(Rollout(), ()) == ()


def test_one_that_is_out_of_service_takes_the_only_place_and_goes_first():
    assert next_batch(Rollout(), ("h2", "h3", "h4"), {"h3"}, ended=1) == ("h3",)


def test_there_is_no_room_while_a_finished_host_is_out_of_service():
    assert next_batch(Rollout(), ("h2", "h3"), {"h1"}, ended=1) == ()


def test_more_may_be_missing_already_than_allowed_and_those_alone_are_acted_on():
    assert next_batch(Rollout(batch=3), SIX[1:], {"h3", "h5", "h6"}, ended=1) == ("h3", "h5", "h6")


def test_no_batch_of_five_hosts_can_make_more_unavailable_than_allowed():
    """Every choice of sizes, of what remains and of who is unavailable."""
    hosts = SIX[:5]
    for canary, batch, most in ((c, b, m) for c in range(1, 4) for b in range(1, 5) for m in range(1, 5)):
        rollout = Rollout(canary, batch, most)
        for remaining in subsets(hosts):
            for unavailable in subsets(hosts):
                check(rollout, tuple(sorted(remaining)), unavailable, ended=5 - len(remaining))


def check(rollout, remaining, unavailable, *, ended):
    chosen = next_batch(rollout, remaining, unavailable, ended=ended)
    assert len(unavailable | set(chosen)) <= max(rollout.max_unavailable, len(unavailable))
    assert set(chosen) <= set(remaining)
    assert list(chosen) == [name for name in remaining if name in chosen]
    assert len(chosen) <= (rollout.canary if ended < rollout.canary else rollout.batch)
    may_act = len(unavailable) < rollout.max_unavailable or unavailable & set(remaining)
    assert bool(chosen) == bool(remaining and may_act), "it must go on whenever it may, else a rollout hangs or stops"


names = st.lists(st.integers(0, 60).map("h{}".format), unique=True, max_size=50)


@given(
    st.builds(Rollout, st.integers(1, 60), st.integers(1, 60), st.integers(1, 60)),
    names,
    st.frozensets(st.integers(0, 60).map("h{}".format)),
    st.integers(0, 60),
)
def test_no_batch_of_many_hosts_can_either(rollout, remaining, unavailable, ended):
    check(rollout, tuple(remaining), unavailable, ended=ended)


@given(st.builds(Rollout, st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), names)
def test_a_plan_names_every_host_once_in_order(rollout, hosts):
    assert list(chain.from_iterable(planned(rollout, hosts))) == hosts


def test_what_is_agreed_to_is_said_for_many_hosts_only():
    assert agreed_text(Rollout(), 1) == ""
    assert agreed_text(Rollout(), 2).startswith("one canary, then 1 at a time, at most 1 unavailable")
    said = agreed_text(Rollout(2, 3, 4, 60), 9)
    assert said == "2 canaries, then 3 at a time, at most 4 unavailable; a pause of 1 min ends it"
