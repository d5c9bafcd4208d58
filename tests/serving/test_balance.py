"""Who of several workers has the most connections."""

from serving.balance import Balance


def test_one_with_fewer_makes_the_others_those_with_most() -> None:
    balance = Balance(2)
    first, second = balance.take(), balance.take()
    balance.publish(first, 3)
    assert not balance.has_most(first)  # the second does not accept yet
    balance.publish(second, 2)
    assert balance.has_most(first)
    assert not balance.has_most(second)
    balance.publish(second, 3)
    assert not balance.has_most(first)


def test_the_place_of_one_that_is_gone_counts_no_more() -> None:
    balance = Balance(1)
    first = balance.take()
    balance.publish(first, 0)
    replacement = balance.take()
    assert replacement != first  # it may start before the first has ended
    balance.publish(replacement, 1)
    assert balance.has_most(replacement)
    balance.give_back(first)
    assert not balance.has_most(replacement)
    assert balance.take() == first


def test_there_is_a_place_for_more_workers_than_were_asked_for() -> None:
    """SIGTTIN adds workers; the arbiter must not end for want of a place."""
    balance = Balance(1)
    places = [balance.take() for _ in range(5)]
    assert len(set(places)) == 3
    for place in places:
        balance.give_back(place)
    assert {balance.take(), balance.take()} == {0, 1}
