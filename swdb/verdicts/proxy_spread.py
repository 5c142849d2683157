"""How much of the spread over seeds comes from the proxies, where every seed has its own.

Two studies of the same seeds tell it: in one all runs learn from one pair of proxies, in the other each seed from its own.
Whatever else chance does (initial values, order, crops) it does in both, so what the variance has more in the second is the
proxies'. The difference of two runs at one seed would not tell it: on other masks a training goes another way from its
first step, so that difference holds the noise of two trainings besides. Nor would rows without proxies: rows differ.

in: mIoU by row and seed, of both studies -> out: a `ProxySpread`, or nothing where no two seeds are in both
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean, variance

Values = Mapping[str, Mapping[int, float]]  # mIoU in % by cell, then by seed; cells of one row are called row.column


@dataclass(frozen=True)
class ProxySpread:
    """The variances of both studies, pooled over rows, and the share that the proxies have in one run's."""

    own: float  # points: standard deviation over seeds where each has its own proxies
    shared: float  # where all share one pair
    share: float  # of the variance with own proxies, 0 to 1
    low: float  # of the share, by a 95 % interval
    high: float
    shift: (
        float | None
    )  # points: own minus shared at the same seed, mean; None where no seed has other proxies than 0's
    rows: int
    seeds: int

    @property
    def words(self) -> str:
        """Say it in one sentence."""
        share, low, high = (round(100 * one) for one in (self.share, self.low, self.high))
        part = f"about {share} % comes" if share else "nothing can be seen to come"
        shift = "" if self.shift is None else f"; own proxies instead of seed 0's: {self.shift:+.1f} points in the mean"
        return (
            f"of the variance over seeds of the {self.rows} rows that learn from proxies {part} from the proxies "
            f"(95 % interval: {low} to {high} %; sd {self.own:.1f} points, {self.shared:.1f} where the {self.seeds} seeds "
            f"share one pair){shift}"
        )


def proxy_spread(own: Values, shared: Values) -> ProxySpread | None:
    """Compare the variances over the seeds that both studies have; None where no row has two of them.

    All rows of a seed learn from one pair, so with own proxies their variances count as one row's: the interval is wider
    than it may have to be, and never narrower. A seed's two runs are alike, if at all, which widens it, too.
    """
    from scipy import stats

    both = {place: sorted(set(own[place]) & set(shared.get(place, {}))) for place in own}
    both = {place: seeds for place, seeds in both.items() if len(seeds) > 1}
    if not both:
        return None
    rows = {place.partition(".")[0]: len(seeds) for place, seeds in both.items()}
    own_variance, shared_variance = (_pooled(values, both) for values in (own, shared))
    if not own_variance:
        return None
    degrees = max(rows.values()) - 1, sum(rows.values()) - len(rows)
    shares = [
        1 - shared_variance / own_variance * factor
        for factor in (1.0, stats.f.ppf(0.975, *degrees), stats.f.ppf(0.025, *degrees))
    ]
    share, low, high = (float(min(1.0, max(0.0, one))) for one in shares)
    shifts = [
        own[place][seed] - shared[place][seed]
        for place, seeds in both.items()
        for seed in seeds
        if seed  # seed 0's proxies are those of both
    ]
    shift = mean(shifts) if shifts else None
    return ProxySpread(own_variance**0.5, shared_variance**0.5, share, low, high, shift, len(rows), max(rows.values()))


def _pooled(values: Values, seeds_of: Mapping[str, list[int]]) -> float:
    """Return the variance over seeds within cells, pooled over them."""
    parts = [(len(seeds) - 1, variance(values[place][seed] for seed in seeds)) for place, seeds in seeds_of.items()]
    return sum(degrees * found for degrees, found in parts) / sum(degrees for degrees, _ in parts)
