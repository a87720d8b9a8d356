"""What the golden tests of this process covered: kind -> name -> cases."""

from collections import Counter, defaultdict

COUNTS: dict[str, Counter[str]] = defaultdict(Counter)
