"""Sources that have to be heard: silence, return, and numbers that never arrived (S4)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety_bridge.domain.feed import Back, Due, Feed, Silent, number_of
from shared.policy.load import load_policy

START = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
WATCH = load_policy().safety.watch


def a_feed(**fields: object) -> Feed:
    return replace(Feed("/agent", armed_at=START, looked_at=START), **fields)


def notices(feed: Feed, *, minutes: int, heard: set[int] = frozenset()) -> tuple[Feed, list[tuple[int, Silent | Back]]]:
    """What a watch tells that looks every five seconds; `heard` are the seconds of its heartbeats."""
    found = []
    for second in range(0, minutes * 60 + 1, 5):
        now = START + timedelta(seconds=second)
        if second in heard:
            feed = replace(feed, heard_at=now)
        feed, notice = feed.look(now, WATCH)
        if notice is not None:
            found.append((second, notice))
    return feed, found


def test_a_source_that_never_spoke_is_silent_as_soon_as_one_that_stopped() -> None:
    """Invariant 44, SN-44: armed by the configuration, not by a first heartbeat."""
    _, never = notices(a_feed(), minutes=3)
    _, stopped = notices(a_feed(heard_at=START), minutes=3)
    assert never == stopped == [(95, Silent(START, 0))]


def test_heartbeats_every_thirty_seconds_say_nothing() -> None:
    assert notices(a_feed(), minutes=30, heard=set(range(0, 1800, 30)))[1] == []


def test_silence_is_told_again_each_hour_and_the_return_once() -> None:
    """It does not end with one mail that nobody read."""
    feed, told = notices(a_feed(), minutes=126, heard={125 * 60})
    assert [(second, type(notice), getattr(notice, "repeat", None)) for second, notice in told] == [
        (95, Silent, 0),
        (95 + 3600, Silent, 1),
        (95 + 7200, Silent, 2),
        (125 * 60, Back, None),
    ]
    assert feed.silence_told == 0


def test_after_a_restart_the_silence_of_our_own_absence_is_not_the_sources() -> None:
    """What it said meanwhile is still to be read; it has 90 seconds from now on."""
    back = START + timedelta(minutes=47)
    feed, notice = a_feed(heard_at=START).look(back, WATCH)
    assert notice is None
    feed, notice = feed.look(back + timedelta(seconds=25), WATCH)
    feed, notice = feed.look(back + timedelta(seconds=50), WATCH)
    feed, notice = feed.look(back + timedelta(seconds=75), WATCH)
    assert notice is None
    assert feed.look(back + timedelta(seconds=95), WATCH)[1] == Silent(back, 0)


def test_each_number_is_asked_for_once_and_some_time_after_it_was_named() -> None:
    """SN-44: a record may be under way for 30 seconds; numbers before the first heartbeat are not asked for."""
    feed, due = a_feed(highest=100).count(START, WATCH)
    assert (feed.checked_to, due) == (100, None)
    feed, due = replace(feed, highest=107).count(START + timedelta(seconds=30), WATCH)
    feed, due = replace(feed, highest=110).count(START + timedelta(seconds=59), WATCH)
    assert due is None
    feed, due = feed.count(START + timedelta(seconds=60), WATCH)
    assert due == Due(101, 107)
    feed, _ = feed.count(START + timedelta(seconds=60), WATCH)
    assert feed.count(START + timedelta(seconds=90), WATCH)[1] == Due(108, 110)


def test_a_source_that_begins_anew_is_counted_from_there() -> None:
    feed, _ = a_feed(highest=3, checked_to=900, due_to=950, due_since=START).count(START, WATCH)
    assert (feed.checked_to, feed.due_to) == (3, None)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_whatever_heartbeats_name_is_asked_for_without_a_gap_or_a_double(steps: list[int]) -> None:
    """Invariant 44: not only the first numbers, and never limited to some."""
    feed, now, highest, asked = a_feed(), START, 1000, []
    for step in [*steps, 0, 0, 0]:
        highest += step
        now += timedelta(seconds=30)
        feed, due = replace(feed, highest=highest).count(now, WATCH)
        asked += list(range(due.first, due.last + 1)) if due else []
    assert asked == list(range(1001 + steps[0], highest + 1))


@pytest.mark.parametrize("said", [None, "7", -1, 1.5, True, 2**63, [], {}])
def test_what_is_no_number_is_none(said: object) -> None:
    assert number_of(said) is None
    assert (number_of(0), number_of(2**63 - 2)) == (0, 2**63 - 2)
