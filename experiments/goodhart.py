"""When does optimising a learned judgement stop being good? Five worlds of simulated raters.

Proxies are trained on 100 to 10,000 ratings by 120 of 200 simulated raters and optimised by
best-of-n to n = 4,096 and by training a small writer; gold, known in closed form, is looked at as
they are. The pass rules stand in `memformer/reward/goodhart_rules.py` and were fixed before this
ran; the world was made while looking at seeds 0 to 2, which are not among these.

Expect: the linear proxy turns over however many ratings it gets; the quadratic with few only; gold
        early stop loses under 5% of the peak; reviews help; propensities help under missingness by
        taste; random labels leave gold flat.
Run:    python experiments/goodhart.py runs/goodhart experiments/results/goodhart.json
        (7 minutes of one core; it goes on where it was cut short)
Result: docs/goodhart.md
"""

import argparse
import shutil
import sys
from pathlib import Path

from memformer.config.goodhart import GoodhartConfig
from memformer.reward.goodhart import goodhart
from memformer.reward.goodhart_report import write_report


def main() -> None:
    """Run, report, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of rows and report")
    parser.add_argument("result", type=Path, help="JSON to write")
    asked = parser.parse_args()
    config = GoodhartConfig()
    rows = goodhart(
        config, asked.out, progress=lambda told, n, of: print(f"{n}/{of} {told}", file=sys.stderr)
    )
    report = write_report(config, rows, asked.out)
    shutil.copy(report.figures, asked.result)
    for verdict in report.verdicts:
        print(f"({verdict.rule}) {verdict.claim}: {'held' if verdict.passed else 'NOT HELD'}")


if __name__ == "__main__":
    main()
