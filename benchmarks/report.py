"""How the benchmarks print what they measured: the spread over turns, and ratios formed within each turn."""

import statistics


def print_table(title, values):
    """A line per contestant with median, least and most over the turns; values: {contestant: [float] * turns}."""
    print(f"{title:50} {'median':>9} {'least':>9} {'most':>9}")
    for name, numbers in values.items():
        print(f"{name:50} {statistics.median(numbers):9,.0f} {min(numbers):9,.0f} {max(numbers):9,.0f}")


def print_ratio(values, above, below):
    """values[above] / values[below], turn by turn: median and spread."""
    ratios = [a / b for a, b in zip(values[above], values[below], strict=True)]
    print(f"{above} / {below}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
