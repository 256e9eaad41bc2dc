"""What work fails on is found among the others, and holds up none of them."""

from collections.abc import Sequence

import pytest

from shared.errors import TransientFailure
from shared.messaging.past_failures import past_failures


async def test_what_it_fails_on_is_given_up_and_everything_else_is_done_once() -> None:
    done: list[int] = []
    given_up: list[tuple[int, type[Exception]]] = []

    async def work(numbers: Sequence[int]) -> None:
        if {7, 40} & set(numbers):
            raise ZeroDivisionError
        done.extend(numbers)

    async def give_up(number: int, error: Exception) -> None:
        given_up.append((number, type(error)))

    await past_failures(range(100), work, give_up)
    assert done == [number for number in range(100) if number not in (7, 40)]
    assert given_up == [(7, ZeroDivisionError), (40, ZeroDivisionError)]


async def test_nothing_is_given_up_because_the_world_fails() -> None:
    async def work(_: Sequence[int]) -> None:
        raise TransientFailure

    async def give_up(number: int, _: Exception) -> None:
        raise AssertionError(number)

    with pytest.raises(TransientFailure):
        await past_failures([1], work, give_up)
    await past_failures([], work, give_up)
