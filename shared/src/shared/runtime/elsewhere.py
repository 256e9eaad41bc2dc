"""A question worked out in another process: what takes long neither holds the loop nor outlives whoever asked."""

from collections.abc import Callable
from typing import TypeVar

from anyio import BrokenWorkerProcess, to_process

from shared.errors import TransientFailure

T = TypeVar("T")


async def elsewhere(question: Callable[[], T]) -> T:
    """The answer of another process, which is killed when whoever asks does not wait for it any more.

    Raises:
        TransientFailure: the process ended before it had an answer.
    """
    try:
        return await to_process.run_sync(question, cancellable=True)
    except BrokenWorkerProcess as broken:
        raise TransientFailure("the question could not be worked out") from broken
