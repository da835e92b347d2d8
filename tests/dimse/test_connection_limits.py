"""Limits of pending connections and of associations, counted apart."""

from __future__ import annotations

from pacsgrid.dimse.connection_limits import ConnectionAdmission, ConnectionLimits


def filled(
    admission: ConnectionAdmission, address: str, count: int, start: int, now: float
) -> list[object]:
    return [admission.admit(start + n, address, now) for n in range(count)]


def test_one_address_cannot_take_the_places_of_others() -> None:
    admission = ConnectionAdmission(
        ConnectionLimits(associations=4, per_peer=2, associate_seconds=10.0)
    )
    assert filled(admission, "a", 4, 0, 0.0) == [[]] * 4
    # Faster than they can be served: no more for this address.
    assert admission.admit(10, "a", 0.5) is None
    assert admission.admit(11, "a", 2.0) == [0]
    assert filled(admission, "b", 4, 20, 2.0) == [[]] * 4
    # Full: who has most makes room for who has less.
    assert admission.admit(30, "c", 2.0) == [1]
    assert admission.admit(31, "c", 2.0) == [20]
    assert admission.admit(32, "c", 2.1) == [2]
    # Nobody has more than the newcomer: its own oldest, once it had its time.
    assert admission.admit(33, "c", 2.2) is None
    assert admission.admit(34, "c", 3.5) == [30]
    assert admission.admit(40, "d", 3.5) == [21]
    assert admission.associate(40) and not admission.associate(1)
    assert sorted(admission.pending()) == [3, 11, 22, 23, 31, 32, 34]


def test_what_waits_is_no_work() -> None:
    admission = ConnectionAdmission(
        ConnectionLimits(associations=3, per_peer=2, associate_seconds=10.0)
    )
    filled(admission, "a", 4, 0, 0.0)
    assert [admission.associate(n) for n in (0, 1, 2)] == [True, True, False]
    assert admission.admit(10, "b", 0.0) == [] and admission.associate(10)
    assert admission.admit(11, "c", 0.0) == [] and not admission.associate(11)
    admission.remove(0)
    assert admission.associate(2)
    admission.remove(0)


def test_one_deadline() -> None:
    admission = ConnectionAdmission(
        ConnectionLimits(associations=4, per_peer=4, associate_seconds=10.0)
    )
    admission.admit(1, "a", 0.0)
    admission.admit(2, "a", 5.0)
    assert admission.associate(2)
    assert admission.remove_overdue(10.0) == []
    assert admission.remove_overdue(10.1) == [1]
    assert not admission.associate(1)
    assert admission.remove_overdue(100.0) == []
