"""What changes over the steps of a run, in closed form."""

import math


def cosine_after_warmup(step: int, total_steps: int, warmup: int) -> float:
    """Share of the learning rate in force at a step: linear over the warm-up, then a cosine towards 0.

    Args:
        step: Counted from 0.
        total_steps: Length of training.
        warmup: Steps of the warm-up.

    Example:
        >>> [round(cosine_after_warmup(step, 5, 2), 3) for step in range(5)]
        [0.5, 1.0, 1.0, 0.75, 0.25]
    """
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(total_steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * share))


def teacher_momentum(
    step: int, total_steps: int, *, start: float = 0.05, end: float = 0.9, rising: float = 0.2
) -> float:
    """CaRot's momentum of the moving-average teacher: linear over the first steps, then constant.

    The teacher becomes m times itself plus (1 - m) times the student; published every 500 steps.

    Args:
        step: Counted from 0.
        total_steps: Length of training.
        start: Momentum at step 0; published 0.05.
        end: Momentum from the end of the rise on; published 0.9.
        rising: Share of training over which it rises; published 0.2.

    Example:
        >>> [round(teacher_momentum(step, 1000), 3) for step in (0, 100, 200, 999)]
        [0.05, 0.475, 0.9, 0.9]
    """
    share = min(1.0, step / max(1.0, rising * total_steps))
    return start + (end - start) * share
