"""Edges are tried side by side; one that hangs, breaks or is interrupted is named and delays nobody."""

import threading
import time

import pytest

from opsbot.adapters.doctor_edges import Edge, Trials
from opsbot.diagnosis import Area, Status, Subject
from opsbot.errors import StoreError


def edge(name, attempt, timeout_s=5.0):
    subject = Subject(Area.HOSTS, name)
    return Edge(subject, lambda within_s: attempt(subject), timeout_s)


def well(subject):
    yield subject.ok("x", "fine")


@pytest.fixture
def released():
    gate = threading.Event()
    yield gate
    gate.set()


def ran(edges, **options):
    trials = Trials(edges, **options)
    order = [each.subject.name for each in trials.run()]
    return order, trials.findings


def test_every_edge_is_tried_once():
    order, findings = ran([edge(f"h{n}", well) for n in range(250)], at_once=7)
    assert sorted(order) == sorted(f"h{n}" for n in range(250))
    assert len(findings) == 250


def test_no_more_than_that_many_at_once():
    busy, most, lock = 0, 0, threading.Lock()

    def counted(subject):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.005)
        with lock:
            busy -= 1
        yield subject.ok("x", "")

    ran([edge(f"h{n}", counted) for n in range(40)], at_once=5)
    assert most <= 5


def test_an_edge_that_never_ends_is_given_up_and_keeps_what_it_found(released):
    def hangs(subject):
        yield subject.ok("first", "fine")
        released.wait()

    started = time.monotonic()
    order, findings = ran([edge("hung", hangs, 0.2), edge("well", well)])
    assert time.monotonic() - started < 1.2
    assert order == ["well", "hung"]
    assert [(each.check, each.status) for each in findings if each.subject == "hung"] == [
        ("first", Status.OK),
        ("answer", Status.FAIL),
    ]


def test_a_hung_edge_makes_room_for_the_next(released):
    def hangs(subject):
        released.wait()
        yield subject.ok("x", "")

    order, _ = ran([edge("hung", hangs, 0.1), edge("well", well)], at_once=1)
    assert order == ["hung", "well"]


def test_a_fault_of_one_check_hides_no_other():
    def breaks(subject):
        yield subject.ok("first", "fine")
        raise ZeroDivisionError("oops")

    def fails(subject):
        raise StoreError("the disk is full")
        yield

    _, findings = ran([edge("a", breaks), edge("b", fails), edge("c", well)])
    said = {each.subject: each.said for each in findings if each.status is Status.FAIL}
    assert said == {"a": "a fault in opsbot itself: ZeroDivisionError: oops", "b": "the disk is full"}
    assert [each.status for each in findings if each.subject == "c"] == [Status.OK]


def test_what_was_found_is_known_after_an_interruption(released):
    reached = threading.Event()

    def hangs(subject):
        yield subject.ok("first", "fine")
        reached.set()
        released.wait()

    trials = Trials([edge("well", well), edge("hung", hangs), edge("never", well)], at_once=1)
    for done in trials.run():
        if done.subject.name == "well":
            break
    trials._start(trials._waiting.pop())
    assert reached.wait(5)
    assert [(each.subject, each.check, str(each.status)) for each in trials.findings] == [
        ("well", "x", "ok"),
        ("hung", "first", "ok"),
        ("hung", "all checks", "skipped"),
        ("never", "all checks", "skipped"),
    ]
