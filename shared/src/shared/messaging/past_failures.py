"""A way past what a look fails on, for loops that must not stand still because of one row."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.runtime.database import is_transient

T = TypeVar("T")


async def past_failures(
    items: Sequence[T],
    work: Callable[[Sequence[T]], Awaitable[object]],
    give_up: Callable[[T, Exception], Awaitable[object]],
) -> None:
    """Do the work on all of them together, or on ever smaller parts until what it fails on is alone and is given up.

    Raises:
        Exception: the world around us fails, and all of it may be tried again.
    """
    if not items:
        return
    try:
        await work(items)
    except Exception as error:
        if is_transient(error):
            raise
        if len(items) == 1:
            await give_up(items[0], error)
            return
        middle = len(items) // 2
        for part in (items[:middle], items[middle:]):
            await past_failures(part, work, give_up)
