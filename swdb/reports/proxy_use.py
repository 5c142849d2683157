"""Which proxies stand behind a table, for one seed and the next: what must be said under it either way.

in: the finished scores of a table, and those of the same seeds on one pair of proxies -> out: a `ProxyUse`
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import MissingArtefact
from swdb.core.files import damage_of
from swdb.reports.dsrg_networks import Networks, networks_behind
from swdb.verdicts.proxy_spread import ProxySpread, proxy_spread

Scores = Mapping[tuple[str, str], Mapping[int, Artefact]]  # by row and column, by seed


@dataclass(frozen=True)
class ProxyUse:
    """The proxies behind a table's runs, by seed, what their networks score, and what they have of the spread where known."""

    by_seed: Mapping[int, Mapping[str, str]]  # ids by name: dsrg-1, dsrg-2
    spread: ProxySpread | None = None
    networks: Networks = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether any two seeds have proxies of their own."""
        return len({one for ids in self.by_seed.values() for one in ids.items()}) > len(
            {name for ids in self.by_seed.values() for name in ids}
        )

    @property
    def words(self) -> str:
        """Say it in one sentence; empty where no run learns from proxies."""
        if not self.by_seed:
            return ""
        if len(self.by_seed) == 1:
            return "proxies: one seed, so nothing is known of how much hangs on them"
        if not self.own:
            return "proxies: all seeds share one set of each round, so the spread over seeds does not hold theirs"
        if self.spread is None:
            return (
                "proxies: made for every seed; how much of the spread comes from them is not known, as too few of these "
                "seeds were run on one pair, too"
            )
        return f"proxies: made for every seed; {self.spread.words}"

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        sets = {str(seed): dict(ids) for seed, ids in self.by_seed.items()}
        spread = asdict(self.spread) if self.spread else None
        return {"by_seed": sets, "own": self.own, "spread": spread, "networks": dict(self.networks)}


def proxy_use(scores: Scores, shared: Scores | None = None) -> ProxyUse:
    """Look at the finished scores of a table; `shared`: those of the same seeds where all learn from one pair."""
    with_proxies: dict[tuple[str, str], Mapping[int, Artefact]] = {}
    by_seed: dict[int, dict[str, str]] = {}
    for place, of_seed in scores.items():
        for seed, score in of_seed.items():
            if score.done and (ids := _proxies_behind(score)):
                by_seed.setdefault(seed, {}).update(ids)
                with_proxies[place] = of_seed
    networks = networks_behind(score for of_seed in with_proxies.values() for score in of_seed.values() if score.done)
    found = ProxyUse({seed: dict(sorted(by_seed[seed].items())) for seed in sorted(by_seed)}, networks=networks)
    if shared is None or not found.own:
        return found
    compared = (_values(with_proxies), _values({place: shared[place] for place in with_proxies if place in shared}))
    return replace(found, spread=proxy_spread(*compared))


def proxy_use_from_json(found: Mapping[str, Any] | None, where: Any) -> ProxyUse | None:
    """Return what `to_json` has written down; raises MissingArtefact for anything else."""
    if found is None:
        return None
    with damage_of(where, "a table"):
        by_seed = {
            int(seed): {str(name): str(one) for name, one in ids.items()} for seed, ids in found["by_seed"].items()
        }
        spread = ProxySpread(**found["spread"]) if found["spread"] else None
        return ProxyUse(by_seed, spread, dict(found["networks"]))


def _proxies_behind(score: Artefact) -> dict[str, str]:
    """Return the proxies that a score's runs, or the runs that those started from, learnt from: ids by round."""
    runs = (other for other in with_inputs(score) if other.kind == "run")
    found = (one for run in runs if (one := run.find_input("proxies")) is not None)
    return {f"dsrg-{one.key['set']}": one.id for one in found}


def _values(scores: Scores) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for (row, column), of_seed in scores.items():
        for seed, score in of_seed.items():
            if score.done:
                with suppress(MissingArtefact, KeyError, TypeError, ValueError):
                    found.setdefault(f"{row}.{column}", {})[seed] = float(score.read_record()["miou"])
    return found
