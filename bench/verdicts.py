"""What verdicts are worth: the engine judges thousands of made-up sets of tables in which the truth is known. `make bench`.

It must hold, and is said in the last line, with the binomial margin of the number of sets:

- with nothing to find, at most 5 % of sets hold a false decision, at 3 seeds and with looks at 3, 5, 8 and 12;
- on effects of 0.25 to 1 times the printed ones, as printed and with some turned, at least 95 % of decisions are right.

usage: PYTHONPATH=. python bench/verdicts.py [sets]        (2000 sets, about two minutes on one core)
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import simulated
from simulated import CLAIMS, FAMILY, LOOKED, SOURCES, SPREADS, former_rule, judged, margin

from swdb.verdicts.power import expectations, power, search, spread_of
from swdb.verdicts.simulation import spread_factor


def nothing_to_find(sets: int) -> float:
    """Print how many sets hold a false decision; returns the largest share of the engine's."""
    worst, bound = 0.0, 0.05 + margin(0.05, sets)
    print(
        f"false decisions, in % of {sets} sets of tables (chance takes a rule of 5 % above {100 * bound:.1f} in 1 case of 100)"
    )
    print("                          seeds" + "".join(f"{f'sd {sd}':>9}" for sd in SPREADS))
    for world in (simulated.nothing_to_find(), simulated.on_the_margins()):
        for seeds in LOOKED:
            shares = [judged(world, sd, seeds, sets).false_share for sd in SPREADS]
            worst = max(worst, *shares)
            print(f"{world.name:26s}{seeds:5d}" + "".join(f"{100 * share:9.1f}" for share in shares))
    for seeds in (3, 12):
        shares = [judged(simulated.nothing_to_find(), sd, seeds, sets // 4, former_rule).false_share for sd in SPREADS]
        print(f"{'the former rule':26s}{seeds:5d}" + "".join(f"{100 * share:9.1f}" for share in shares))
    return worst


def planted(sets: int) -> float:
    """Print how many decisions are right where there is something to find; returns the smallest share."""
    worst = 1.0
    print("\ndecided / right when decided / sets with a wrong decision, in %")
    print("                          seeds" + "".join(f"{f'sd {sd}':>22}" for sd in SPREADS))
    for world in simulated.planted():
        for seeds in (3, 12):
            found = [judged(world, sd, seeds, sets) for sd in SPREADS]
            worst = min(worst, *(one.right_share for one in found))
            shares = [(one.decided_share, one.right_share, one.false_share) for one in found]
            print(
                f"{world.name:26s}{seeds:5d}"
                + "".join(f"{100 * a:8.1f}{100 * b:8.2f}{100 * c:6.1f}" for a, b, c in shares)
            )
    return worst


def powers() -> None:
    """Print what is found of each claim, and how many seeds it takes."""
    print("\nfound at 3 seeds (%) / seeds needed for 80 %, of an effect of so many points")
    print(" " * 37 + "".join(f"{f'sd {sd}':>14}" for sd in SPREADS))
    for claim in CLAIMS:
        cells, points = [], 0.0
        for sd in SPREADS:
            arms = {FAMILY.arms[cell]: sd * spread_factor(source) for cell, source in SOURCES.items()}
            found = power(search(claim, FAMILY, spread_of(claim, expectations(FAMILY, {}, arms)), len(CLAIMS)), 3)
            cells.append(f"{100 * found.finds:7.0f} /{found.seeds_needed or '>400'!s:>5}")
            points = found.points
        print(f"{claim.key:32s}{points:5.1f}" + "".join(cells))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", nargs="?", type=int, default=2000, help="how many studies are simulated of each kind")
    number = parser.parse_args().number
    false, correct = nothing_to_find(number), planted(number)
    powers()
    holds = false <= 0.05 + margin(0.05, number) and correct >= 0.95
    print(
        f"\n{'holds' if holds else 'DOES NOT HOLD'}: at most {100 * false:.1f} % of sets with a false decision, at least "
        f"{100 * correct:.2f} % of decisions right"
    )
    sys.exit(not holds)
