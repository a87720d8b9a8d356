"""Mean ranks of methods over data sets, joined where they cannot be told apart, as plain SVG."""

from html import escape

from vlmcal.metrics.across_sets import Ranking

_WIDTH, _SIDE, _LINE, _TOP = 720, 210, 18, 52


def rank_diagram(ranking: Ranking, title: str) -> str:
    """A critical-difference diagram: ranks on a line, best to the left, bars over what cannot be told apart.

    Args:
        ranking: Mean ranks and Nemenyi's critical difference.
        title: Accessible name.

    Source: Demšar, JMLR 2006, figure 1.

    Example:
        >>> from vlmcal.metrics.across_sets import rank_methods
        >>> table = [[0.9, 0.89, 0.1], [0.9, 0.91, 0.1]] * 4
        >>> picture = rank_diagram(rank_methods(table, ["a", "b", "c"], higher_is_better=True), "ranks")
        >>> picture.count('class="bar"'), picture.count("<text")
        (1, 7)
    """
    count = len(ranking.names)
    groups = ranking.groups()
    step = (_WIDTH - 2 * _SIDE) / max(count - 1, 1)

    def across(rank: float) -> float:
        return _SIDE + (rank - 1) * step

    every = max(1, round(count / 10))
    ticks = [rank for rank in range(1, count + 1) if (rank - 1) % every == 0]
    axis = f"M{_SIDE} {_TOP}H{_WIDTH - _SIDE}" + "".join(
        f"M{across(tick):.1f} {_TOP}v-5" for tick in ticks
    )
    parts = [
        f'<text x="{across(tick):.1f}" y="{_TOP - 8}" text-anchor="middle">{tick}</text>'
        for tick in ticks
    ]
    reach = min(ranking.critical_difference, count - 1) * step
    parts.append(
        f'<path class="axis" d="M{_SIDE} 18v-6m0 3h{reach:.1f}m0 -3v6"/>'
        f'<text x="{_SIDE}" y="9">{escape(title)}; critical difference '
        f"{ranking.critical_difference:.2f}</text>"
    )
    place = dict(zip(ranking.names, ranking.ranks, strict=True))
    for level, group in enumerate(groups):
        y = _TOP + 7 + 6 * level
        low, high = (across(place[name]) for name in (group[0], group[-1]))
        parts.append(f'<path class="bar" d="M{low - 3:.1f} {y}H{high + 3:.1f}"/>')
    first = _TOP + 20 + 6 * len(groups)
    half = (count + 1) // 2
    for at, (name, rank) in enumerate(zip(ranking.names, ranking.ranks, strict=True)):
        left = at < half
        y = first + _LINE * (at if left else count - 1 - at)
        end, anchor = (_SIDE - 8, "end") if left else (_WIDTH - _SIDE + 8, "start")
        axis += f"M{across(rank):.1f} {_TOP}V{y}H{end}"
        shown = name if len(name) <= 30 else f"{name[:29]}…"
        parts.append(
            f'<text x="{end + (-4 if left else 4)}" y="{y + 4}" text-anchor="{anchor}">'
            f"<title>{escape(name)}, {rank:.2f}</title>{escape(shown)} {rank:.2f}</text>"
        )
    height = first + _LINE * half
    return (
        f'<svg class="plot wide" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f'<path class="axis" d="{axis}"/>{"".join(parts)}</svg>'
    )
