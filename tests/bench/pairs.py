"""Measuring sides against each other on a machine that does other things too: in rounds, each side once a round, and the ratio of two sides
from the pairs of a round, so that what disturbs a round disturbs both."""

import itertools
import math
import statistics
import time


def interval_of_median(values):
    """(median, low, high): the order statistics that cover the true median with at least 95 %, whatever the distribution. Fewer than six
    values cannot: then the least and the greatest."""
    x = sorted(values)
    if any(not math.isfinite(v) for v in x):
        return math.nan, math.nan, math.nan
    n = len(x)
    below = itertools.accumulate(math.comb(n, i) / 2**n for i in range(n))  # P(at most i values lie below the true median)
    rank = max(sum(p <= 0.025 for p in below), 1)
    return statistics.median(x), x[rank - 1], x[n - rank]


def timed(run):
    begin = time.perf_counter()
    result = run()
    return time.perf_counter() - begin, result


def rate_of(run, amount):
    """Of one sample: amount a second and the last result. Short runs are begun warm and done three times."""
    seconds, result = timed(run)
    if seconds < 1:
        seconds = statistics.median([timed(run)[0] for _ in range(3)])
    return amount / seconds, result


def measure(sides, rounds):
    """sides: name -> function that returns (rate, result). Every round begins with another side. Returns name -> rates of all rounds, and
    name -> result of the last one."""
    names, rates, results = list(sides), {name: [] for name in sides}, {}
    for r in range(rounds):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            rate, results[name] = sides[name]()
            rates[name].append(rate)
    return rates, results


def ratio(rates, a, b):
    return interval_of_median([x / y for x, y in zip(rates[a], rates[b])])


def told(x):
    """A ratio with its interval, as text."""
    return "{:.2f} [{:.2f}, {:.2f}]".format(*x)
