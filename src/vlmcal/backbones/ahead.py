"""Images of the next batch are read and rendered while the current one is encoded."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def rendered_ahead(
    render: Callable[[int], T], batches: Sequence[Sequence[int]]
) -> Iterator[tuple[Sequence[int], list[T]]]:
    """Rows of each batch with what ``render`` makes of them; at most two batches exist at a time.

    Args:
        render: From a row to what is wanted of its image; called once for each, in several threads.
        batches: Rows of each batch.

    Raises:
        Exception: What ``render`` raises, when its batch is due.

    Example:
        >>> list(rendered_ahead(lambda row: row * row, [[1, 2], [3]]))
        [([1, 2], [1, 4]), ([3], [9])]
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        pending = [pool.submit(render, row) for row in batches[0]] if batches else []
        try:
            for number, rows in enumerate(batches):
                made = [task.result() for task in pending]
                following = batches[number + 1] if number + 1 < len(batches) else ()
                pending = [pool.submit(render, row) for row in following]
                yield rows, made
        finally:
            for task in pending:
                task.cancel()
