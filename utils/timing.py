"""How long functions take, side by side.

Knows: how to time on a machine that does other things, too. Doesn't know: what is compared, and what the ratio means.
"""

import time


def fastest(functions, repeats=7):
    """Seconds of each of `functions` {name: function without arguments}, as {name: its fastest run}.

    They run in turns, so that what else the machine does hits all alike, each once unmeasured before each measured
    run, since the one before left other data in the caches; of the rest, what is slower was disturbed.
    """
    times = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            function()
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: min(several) for name, several in times.items()}
