"""Limits of pending connections and of associations, counted apart."""

from __future__ import annotations

from pacsgrid.dimse.connection_limits import ConnectionLimits, ConnectionTable


def filled(
    table: ConnectionTable, address: str, count: int, start: int, now: float
) -> list[object]:
    return [table.admit(start + n, address, now) for n in range(count)]


def test_one_address_cannot_take_the_places_of_others() -> None:
    table = ConnectionTable(ConnectionLimits(associations=4, per_peer=2, associate_seconds=10.0))
    assert filled(table, "a", 4, 0, 0.0) == [[]] * 4
    # Faster than they can be served: no more for this address.
    assert table.admit(10, "a", 0.5) is None
    assert table.admit(11, "a", 2.0) == [0]
    assert filled(table, "b", 4, 20, 2.0) == [[]] * 4
    # Full: who has most makes room for who has less.
    assert table.admit(30, "c", 2.0) == [1]
    assert table.admit(31, "c", 2.0) == [20]
    assert table.admit(32, "c", 2.1) == [2]
    # Nobody has more than the newcomer: its own oldest, once it had its time.
    assert table.admit(33, "c", 2.2) is None
    assert table.admit(34, "c", 3.5) == [30]
    assert table.admit(40, "d", 3.5) == [21]
    assert table.associate(40) and not table.associate(1)
    assert sorted(table.pending()) == [3, 11, 22, 23, 31, 32, 34]


def test_what_waits_is_no_work() -> None:
    table = ConnectionTable(ConnectionLimits(associations=3, per_peer=2, associate_seconds=10.0))
    filled(table, "a", 4, 0, 0.0)
    assert [table.associate(n) for n in (0, 1, 2)] == [True, True, False]
    assert table.admit(10, "b", 0.0) == [] and table.associate(10)
    assert table.admit(11, "c", 0.0) == [] and not table.associate(11)
    table.remove(0)
    assert table.associate(2)
    table.remove(0)


def test_one_deadline() -> None:
    table = ConnectionTable(ConnectionLimits(associations=4, per_peer=4, associate_seconds=10.0))
    table.admit(1, "a", 0.0)
    table.admit(2, "a", 5.0)
    assert table.associate(2)
    assert table.remove_overdue(10.0) == []
    assert table.remove_overdue(10.1) == [1]
    assert not table.associate(1)
    assert table.remove_overdue(100.0) == []
