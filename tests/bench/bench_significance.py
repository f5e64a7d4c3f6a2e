"""Processor seconds of 10,000 bootstrap resamples of 10,000 utterances of many distinct rows, beside the plain way.

python tests/bench/bench_significance.py [--utterances 10000]
"""

from __future__ import annotations

import argparse
import time

import figures
import numpy as np

from asr_lab.metrics.significance import RESAMPLES, difference_interval, rate_interval


def plain(errors_a: np.ndarray, errors_b: np.ndarray, words: np.ndarray) -> tuple[float, float]:
    """Draw indices and sum three columns, one resample after the other."""
    draw = np.random.default_rng(0)
    differences = []
    for _ in range(RESAMPLES):
        chosen = draw.integers(len(words), size=len(words))
        differences.append((errors_b[chosen].sum() - errors_a[chosen].sum()) / words[chosen].sum())
    low, high = np.quantile(differences, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--utterances", type=int, default=10_000)
    figures.add_values_option(options)
    asked = options.parse_args()
    number = asked.utterances
    draw = np.random.default_rng(1)
    words = draw.integers(5, 41, number)
    errors_a, errors_b = draw.binomial(words, 0.30), draw.binomial(words, 0.28)
    distinct = len(np.unique(np.stack([errors_a, errors_b, words], axis=1), axis=0))
    print(f"{number} utterances, {distinct} distinct rows, {RESAMPLES} resamples")
    timed = {}
    for name, run in (
        ("rate_interval", lambda: rate_interval(errors_a, words)),
        ("difference_interval", lambda: difference_interval(errors_a, errors_b, words)),
        ("plain difference", lambda: plain(errors_a, errors_b, words)),
    ):
        began = time.process_time()
        found = run()
        timed[name] = time.process_time() - began
        print(f"{name:20} {timed[name]:6.2f} s  {found}")
    ratio = timed["plain difference"] / timed["difference_interval"]
    print(f"ratio plain / ours   {ratio:.1f}")
    figures.write(
        {
            "significance_ratio": ratio,
            "significance_interval_s": timed["rate_interval"],
            "significance_difference_s": timed["difference_interval"],
        },
        asked.values,
    )


if __name__ == "__main__":
    main()
