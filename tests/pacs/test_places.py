"""Who may stay: connections that wait, and associations, counted apart."""

from __future__ import annotations

from pacsgrid.pacs.protocol.places import Limits, Places


def filled(places: Places, address: str, count: int, start: int, now: float) -> list[object]:
    return [places.enter(start + n, address, now) for n in range(count)]


def test_one_address_cannot_take_the_places_of_others() -> None:
    places = Places(Limits(associations=4, per_peer=2, seconds=10.0))
    assert filled(places, "a", 4, 0, 0.0) == [[]] * 4
    # Faster than they can be served: no more for this address.
    assert places.enter(10, "a", 0.5) is None
    assert places.enter(11, "a", 2.0) == [0]
    assert filled(places, "b", 4, 20, 2.0) == [[]] * 4
    # Full: who has most makes room for who has less.
    assert places.enter(30, "c", 2.0) == [1]
    assert places.enter(31, "c", 2.0) == [20]
    assert places.enter(32, "c", 2.1) == [2]
    # Nobody has more than the newcomer: its own oldest, once it had its time.
    assert places.enter(33, "c", 2.2) is None
    assert places.enter(34, "c", 3.5) == [30]
    assert places.enter(40, "d", 3.5) == [21]
    assert places.take(40) and not places.take(1)
    assert sorted(places.waiting()) == [3, 11, 22, 23, 31, 32, 34]


def test_what_waits_is_no_work() -> None:
    places = Places(Limits(associations=3, per_peer=2, seconds=10.0))
    filled(places, "a", 4, 0, 0.0)
    assert [places.take(n) for n in (0, 1, 2)] == [True, True, False]
    assert places.enter(10, "b", 0.0) == [] and places.take(10)
    assert places.enter(11, "c", 0.0) == [] and not places.take(11)
    places.leave(0)
    assert places.take(2)
    places.leave(0)


def test_one_deadline() -> None:
    places = Places(Limits(associations=4, per_peer=4, seconds=10.0))
    places.enter(1, "a", 0.0)
    places.enter(2, "a", 5.0)
    assert places.take(2)
    assert places.overdue(10.0) == []
    assert places.overdue(10.1) == [1]
    assert not places.take(1)
    assert places.overdue(100.0) == []
