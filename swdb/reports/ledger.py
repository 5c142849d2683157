"""The ledger of a study: all claims of all tables judged from what was measured, and the lines that say so. No torch.

in: the measured tables -> out: a `Ledger`, a line for each claim, sentences on how it was judged
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from swdb.core.errors import MissingArtefact
from swdb.core.numbers import duration, signed, span
from swdb.evaluation.confusion import read_counts
from swdb.reports.notes import cannot_be_run
from swdb.reports.regime import regime_lines
from swdb.reports.results import MeasuredTable
from swdb.specs.presets import Preset
from swdb.specs.tables import cell_name
from swdb.verdicts.engine import family_of, judge
from swdb.verdicts.images import miou_of, parts
from swdb.verdicts.power import with_power
from swdb.verdicts.regime import with_regime
from swdb.verdicts.rule import ALPHA
from swdb.verdicts.verdict import NOT_RUN, UNDECIDED, Interval, Ledger, Verdict

LEDGER = "ledger.json"  # beside the tables, in bundles and in results/
CANNOT_BE_RUN = "cannot be run at this preset: "
SAME = 1e-6  # points by which a score may differ from that of its counts: they are added up in another order


def ledger_of(
    tables: Iterable[MeasuredTable],
    preset: Preset,
    registered: Mapping[str, str] | None = None,
    images: bool = True,
    powers: bool = True,
) -> Ledger:
    """Judge the claims of all tables together; whoever shows one of them measures the others, too.

    images: read the counts of every image, where they are kept, for the intervals over images. powers: say what each verdict
    would find.
    """
    tables = list(tables)
    _check_data(tables)
    values, counts = {}, {}
    for table in tables:
        for (row, column), cell in table.cells.items():
            if cell.by_seed:
                name = cell_name(table.spec.number, row, column)
                values[name], counts[name] = cell.by_seed, cell.counts
    family = family_of({table.spec.number: table.spec for table in tables})
    kept = _read_all(counts, values) if images else {}
    own = any(table.proxy_use is not None and table.proxy_use.own for table in tables)
    ledger = judge(family, values, preset.comparable, preset.name, kept, limits(preset, own), registered)
    masks = {seed: one for table in tables for seed, one in table.masks.items()}
    scored = {seed: one.miou for seed, one in masks.items() if one.miou is not None}
    why = "; ".join(dict.fromkeys(one.why for one in masks.values() if one.why))
    ledger = with_regime(ledger, family, values, scored, why)
    return without_runs(with_power(ledger, family, values) if powers else ledger, tables, preset)


def without_runs(ledger: Ledger, tables: Iterable[MeasuredTable], preset: Preset) -> Ledger:
    """Return a ledger that says of claims why no seeds can decide them: a method cannot be built on the preset's backbone."""
    whys = {
        cell_name(table.spec.number, *place): f"{CANNOT_BE_RUN}{why}"
        for table in tables
        for place, why in cannot_be_run(table.spec, preset).items()
    }
    verdicts = []
    for verdict in ledger.verdicts:
        why = next((whys[cell] for cell in verdict.claim.measured_cells if cell in whys), "")
        if verdict.word == NOT_RUN and why:
            verdict = replace(verdict, why=why, finds=None, finds_effect=None, seeds_needed=None)
        verdicts.append(verdict)
    return replace(ledger, verdicts=tuple(verdicts))


def limits(preset: Preset, own_proxies: bool = False) -> tuple[str, ...]:
    """Say what no interval of the ledger covers; `own_proxies`: every seed has its own."""
    data_set = f"one data set ({preset.data.name}): no interval says whether a claim holds for another one"
    if own_proxies:
        return (data_set,)
    return (
        data_set,
        "one set of proxies for all seeds: what hangs on proxies, retraining above all, is shown for these sets alone",
    )


def _check_data(tables: list[MeasuredTable]) -> None:
    """Refuse tables that were measured on different contents of the data set."""
    digests = {table.data_digest: table for table in tables if table.data_digest}
    if len(digests) > 1:
        (one, first), (other, second) = list(digests.items())[:2]
        found = f"measured on data {one[:10]}, but Table {second.spec.number} on {other[:10]}"
        raise MissingArtefact(f"Table {first.spec.number}", found, "the same data")


# ---------------------------------------------------------------- counts of images


def _read_all(
    counts: Mapping[str, Mapping[int, Path]], values: Mapping[str, Mapping[int, float]]
) -> dict[str, dict[int, np.ndarray]]:
    """Read what is kept of every image, each file once; nothing where the runs were not scored on the same images."""
    paths = sorted({path for by_seed in counts.values() for path in by_seed.values() if path.is_file()})
    # One by one: Python 3.11 parses numpy's headers in one thread only.
    known = {path: read_parts(path) for path in paths}
    found: dict[str, dict[int, np.ndarray]] = {}
    for cell, by_seed in counts.items():
        for seed, path in by_seed.items():
            if path in known:
                found.setdefault(cell, {})[seed] = known[path][1]
                _check_score(path, values[cell][seed], known[path][1])
    lists = [ids for ids, _ in known.values()]
    return found if all(np.array_equal(ids, lists[0]) for ids in lists) else {}


def read_parts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a score's images and, for each, hits and unions by class; raises MissingArtefact for damage."""
    ids, counts = read_counts(path)
    return ids, parts(counts)


def _check_score(path: Path, score: float, kept: np.ndarray) -> None:
    """Refuse a score that is not that of its counts: one of them was changed by hand."""
    counted = float(miou_of(kept.sum(0)))
    if abs(counted - score) > SAME:
        raise MissingArtefact(path, f"the counts say mIoU {counted:.4f}, the score {score:.4f}", "the same")


# ---------------------------------------------------------------- in words


def claim_line(verdict: Verdict) -> str:
    """Return the line of a claim: verdict, claim, effect with both intervals, p, seeds, spread, and why it is open."""
    parts_of = [*_effect(verdict), *_test(verdict), *_power(verdict)]
    basis = f" ({'; '.join(parts_of)})" if parts_of else ""
    clauses = "; ".join(filter(None, (verdict.why, verdict.contrary, verdict.discount)))
    why = f" - {clauses}" if clauses else ""
    return f"{verdict.shown}: {verdict.claim.text}{basis}{why}"


def _effect(verdict: Verdict) -> list[str]:
    if verdict.effect is None:
        return []
    words = [f"{what_is_shown(verdict)}{signed(verdict.effect)} points"]
    if verdict.seeds_interval is not None:
        words.append(f"other trainings {_range(verdict.seeds_interval)}")
    if verdict.images_interval is not None:
        words.append(f"other images {_range(verdict.images_interval)}")
    return words


def what_is_shown(verdict: Verdict) -> str:
    """Say which of several differences an effect is; nothing where there is only one."""
    claim = verdict.claim
    if claim.kind == "trend":
        return "first to last "
    if claim.kind == "robustness":
        return "largest difference "
    if claim.kind == "value":
        return "farthest off "
    return f"smallest of {len(claim.higher)}: " if len(claim.higher) > 1 else ""


def _test(verdict: Verdict) -> list[str]:
    words = []
    if verdict.p_adjusted is not None:
        words.append(f"adjusted p {small(verdict.p_adjusted)}")
    if verdict.effect is not None:
        words.append("1 seed" if len(verdict.seeds) == 1 else f"{len(verdict.seeds)} seeds")
    if verdict.spread is not None:
        words.append(f"spread {verdict.spread.sd:.2f}")
    return words


def finds_words(verdict: Verdict) -> str:
    """Say how often the rule finds what is there with these seeds; empty where that is not known."""
    if verdict.finds is None or verdict.finds_effect is None:
        return ""
    share, points = f"{100 * verdict.finds:.0f} %", verdict.finds_effect
    if verdict.claim.kind in ("equivalence", "robustness"):
        return f"shows it in {share} where cells are {points:.2g} points apart"
    if verdict.claim.kind == "value":
        return f"says so in {share} where it is true"
    return f"finds a true {points:.2g}-point effect in {share}"


def _power(verdict: Verdict) -> list[str]:
    words = [finds] if (finds := finds_words(verdict)) else []
    if takes_more(verdict):
        lasts = duration(3600 * (verdict.hours_needed or 0))
        words.append(f"would take {verdict.seeds_needed} seeds{f', {lasts} more' if lasts else ''}")
    return words


def waits_for_runs(verdict: Verdict) -> bool:
    """Say whether runs that can be made here are missing for a claim."""
    return verdict.word == NOT_RUN and not verdict.why.startswith(CANNOT_BE_RUN)


def takes_more(verdict: Verdict) -> bool:
    """Say whether a claim is open and more seeds than it has are known to find the effect that is asked about."""
    return verdict.word in (UNDECIDED, NOT_RUN) and (verdict.seeds_needed or 0) > len(verdict.seeds)


def _range(interval: Interval) -> str:
    return span(interval.low, interval.high)


def small(p: float) -> str:
    """Return a p-value in words: two digits, more where these would look decided, and no more zeros than anybody reads."""
    digits = 2
    while float(f"{p:.{digits}g}") <= ALPHA < p:
        digits += 1
    return "< 0.0001" if p < 0.0001 else "1" if p > 0.995 else f"{p:.{digits}g}"


def claim_lines(ledger: Ledger, number: int) -> list[str]:
    """Return one line for each claim of a table."""
    return [claim_line(verdict) for verdict in ledger.of_table(number)]


def rule_lines(ledger: Ledger) -> list[str]:
    """Say how the claims were judged, and what that leaves out, one sentence a line."""
    looked = f"looks at {', '.join(map(str, ledger.looks))} seeds" if ledger.looks else "looks, the first at 3 seeds"
    lines = [
        f"decided where the adjusted p is at most {ALPHA}: adjusted for all {ledger.family} claims of the tables that seeds "
        f"can decide (Holm) and for {looked}; spread: points of one run, of the claim's cells, squeezed towards that of all cells",
        "other trainings: the 95 % interval over seeds; other images: that of the same networks over resampled images",
    ]
    spread = next((one.spread for one in ledger.verdicts if one.spread is not None), None)
    if spread is not None:
        lines[0] += f" ({spread.arms} of them, {spread.degrees:.0f} degrees of freedom)"
    return [*regime_lines(ledger), *lines, registered_line(ledger), *ledger.limits]


def registered_line(ledger: Ledger) -> str:
    """Say which claims were fixed before the runs behind them, as far as they were registered."""
    standing = {
        word: [key for key, stands in ledger.registered.items() if stands == word] for word in ("before", "after")
    }
    if not any(standing.values()):
        return "registered: no claim was preregistered"
    if not standing["after"]:
        return f"registered: all {len(standing['before'])} claims were fixed before the runs behind them"
    late = ", ".join(standing["after"]) if standing["before"] else f"all {len(standing['after'])}"
    words = "fixed after the runs behind them, changed since, or judged with more seeds than were registered"
    return f"registered: {len(standing['before'])} claims were fixed before the runs behind them; {words}: {late}"
