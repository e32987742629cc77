"""Pictures that people showed: kept once by key, given back to the byte, and forgotten by age and by size."""

from datetime import timedelta

from opsbot.pictures import Developed
from opsbot.ports import Store
from tests.records import NOON


def developed(size_bytes: int = 10, mark: bytes = b"x") -> Developed:
    return Developed("image/png", 640, 480, mark * size_bytes)


async def test_a_picture_comes_back_to_the_byte_and_unknown_keys_are_left_out(store: Store) -> None:
    whole = Developed("image/jpeg", 3, 2, bytes(range(256)))
    await store.pictures.put("T1/F1", whole, NOON)
    assert await store.pictures.get(["T1/F1", "T1/F2"]) == {"T1/F1": whole}
    assert await store.pictures.get([]) == {}


async def test_the_first_picture_of_a_key_stays(store: Store) -> None:
    await store.pictures.put("T1/F1", developed(mark=b"a"), NOON)
    await store.pictures.put("T1/F1", developed(mark=b"b"), NOON)
    assert (await store.pictures.get(["T1/F1"]))["T1/F1"].content == b"a" * 10


async def test_old_pictures_are_forgotten_and_the_oldest_of_too_many(store: Store) -> None:
    for day in range(6):
        await store.pictures.put(f"T1/F{day}", developed(100), NOON + timedelta(days=day))
    assert await store.pictures.prune(NOON + timedelta(days=1), max_bytes=10_000) == 1
    assert await store.pictures.prune(NOON, max_bytes=250) == 3
    assert set(await store.pictures.get([f"T1/F{day}" for day in range(6)])) == {"T1/F4", "T1/F5"}
    assert await store.pictures.prune(NOON, max_bytes=250) == 0
