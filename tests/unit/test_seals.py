"""Seals of buttons: one request, as it stands now, and nothing else; cards that are out keep theirs."""

import hashlib
import hmac
from base64 import urlsafe_b64decode

import pytest

from opsbot.domain import Approval
from opsbot.errors import WrongCard
from opsbot.seals import ButtonSeals
from tests.records import KEY, approval

SHOWN = approval("7KQ2M4", digest="cd" * 32)


@pytest.fixture
def seals() -> ButtonSeals:
    return ButtonSeals(KEY)


def test_the_seal_of_a_card_that_is_out_never_changes_with_opsbot(seals: ButtonSeals) -> None:
    """Cards stay in their channels through upgrades: the seal is this, and no other, by definition."""
    key = hmac.new(KEY, b"opsbot button seal", hashlib.sha256).digest()
    whole = hmac.new(key, b"7KQ2M4\n" + b"cd" * 32, hashlib.sha256).digest()
    seal = seals.of(SHOWN)
    assert urlsafe_b64decode(seal + "==") == whole[:16]
    assert "=" not in seal


def test_the_right_seal_counts(seals: ButtonSeals) -> None:
    seals.check(SHOWN, seals.of(SHOWN))


@pytest.mark.parametrize("forge", ["", "A" * 22, "{seal:.21}", "{seal}=", "\ud800", "é"])
def test_any_other_seal_is_refused_and_told_what_to_do(seals: ButtonSeals, forge: str) -> None:
    with pytest.raises(WrongCard) as refused:
        seals.check(SHOWN, forge.format(seal=seals.of(SHOWN)))
    assert str(refused.value) == (
        "That button does not belong to this request as it stands now: the request changed, or the button is not one "
        "of opsbot's. Nothing was counted. Read its card again and use the buttons there."
    )


@pytest.mark.parametrize("other", [approval("7KQ2M5", digest="cd" * 32), approval("7KQ2M4", digest="ce" * 32)])
def test_a_seal_is_of_one_request_and_of_one_content(seals: ButtonSeals, other: Approval) -> None:
    with pytest.raises(WrongCard):
        seals.check(SHOWN, seals.of(other))


def test_another_key_makes_other_seals(seals: ButtonSeals) -> None:
    with pytest.raises(WrongCard):
        seals.check(SHOWN, ButtonSeals(KEY[::-1]).of(SHOWN))
