"""One training, as a row of a table spells it: what it varies, checked when it is read.

in: `run = { ... }` of `tables/*.toml` -> out: a frozen dataclass, or one error naming file, row and key
"""

from dataclasses import dataclass, fields

from swdb.core.errors import BadInput, unknown
from swdb.core.names import PLAIN, is_plain_name
from swdb.specs.changes import check_changes
from swdb.specs.methods import METHODS
from swdb.specs.toml import Pairs

FEW_STRONG = ("images", "occurrences")
MOST = 100  # shared layers, and times that a strong image stands in a mixed set: no memory holds what is far beyond


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """What one training varies; two rows with the same values share the training."""

    name: str
    method: str = "strong-weak"
    strong_branch: str  # label set of the branch that predicts; the only one where weak_branch is missing
    weak_branch: str | None = None
    oversample: int = 1  # how often the strong images stand in a mixed set
    shared_layers: int = 3  # the paper's n: "We use n = 3 in the main experiments"
    kl: bool = False  # equation 1
    proxy_set: int = 1
    start_from: str | None = None  # the name of a run whose last weights this one begins with
    strong_per_class: int | None = None  # Table 4: strong images a class, drawn by seed
    few_strong: str = "images"  # how they are counted: so many for each class, or until each class occurs so often
    changes: Pairs = ()  # settings of the preset that it takes another value of, with that value

    @property
    def dual(self) -> bool:
        """Whether the run has two branches."""
        return self.weak_branch is not None

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches that can predict."""
        return tuple(name for name in METHODS[self.method].branches if getattr(self, f"{name}_branch") is not None)

    @property
    def needs_proxies(self) -> bool:
        """Whether any of its label sets holds proxy masks."""
        return any(labels in ("weak", "strong+weak") for labels in (self.strong_branch, self.weak_branch))


def check_run(run: RunSpec, where: str) -> None:
    """Refuse a run that its method cannot train, or whose name cannot be a folder's."""
    if not is_plain_name(run.name):
        raise BadInput(f"{where}, key 'name'", f"found {run.name!r}", PLAIN)
    if run.method not in METHODS:
        raise unknown(f"{where}, method", run.method, METHODS)
    method = METHODS[run.method]
    for branch in ("strong", "weak"):
        key, labels = f"{branch}_branch", getattr(run, f"{branch}_branch")
        if labels is None:
            continue
        if branch not in method.branches:
            found = f"found {labels!r}, but method {run.method!r} has no {branch} branch"
            raise BadInput(f"{where}, key {key!r}", found, "nothing")
        if labels not in method.label_sets:
            raise unknown(f"{where}, key {key!r}, label set", labels, method.label_sets)
    for one in fields(RunSpec):
        if one.name in method.foreign and getattr(run, one.name) != one.default:
            found = f"found {getattr(run, one.name)}, which means nothing to method {run.method!r}"
            raise BadInput(f"{where}, key {one.name!r}", found, "nothing")
    mixed = "strong+weak" in (run.strong_branch, run.weak_branch)
    checks = (
        (0 <= run.shared_layers <= MOST, "shared_layers", f"0 to {MOST}"),
        (1 <= run.oversample <= MOST, "oversample", f"1 to {MOST}"),
        (run.proxy_set in (1, 2), "proxy_set", "1 or 2"),
        (run.strong_per_class is None or run.strong_per_class >= 1, "strong_per_class", "1 or more"),
        (run.few_strong in FEW_STRONG, "few_strong", " or ".join(FEW_STRONG)),
        (run.few_strong == "images" or run.strong_per_class, "few_strong", "none, as all strong images are taken"),
        (run.oversample == 1 or mixed, "oversample", "1, as no set is mixed"),
        (run.proxy_set == 1 or run.needs_proxies, "proxy_set", "none, as no set holds proxies"),
        (not run.kl or run.dual, "kl", "false, for there is no weak_branch"),
    )
    for holds, key, expected in checks:
        if not holds:
            raise BadInput(f"{where}, key {key!r}", f"found {getattr(run, key)}", expected)
    check_changes(run.changes, where)
