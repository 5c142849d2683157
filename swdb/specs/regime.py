"""When a study is in the paper's regime: conditions on three cells of Table 2, fixed before anything is scored. Pure Python.

The paper asks whether few strong labels gain from many weak ones. The question has its meaning where strong labels are clearly
better than weak ones, where more strong labels would still help, and where a network learns what its proxies can teach. The
conditions are no claims of the paper: no verdict counts them, and no adjustment.

in: nothing -> out: `CONDITIONS`, the one home of the thresholds
"""

from dataclasses import asdict, dataclass
from typing import Any

WEAK, STRONG, ALL_STRONG = "2:weak.miou", "2:strong.miou", "2:all-strong.miou"
COMPARED = (WEAK, "2:mixed.miou", STRONG, ALL_STRONG, "2:dual.miou")  # what the table of all presets shows


@dataclass(frozen=True, kw_only=True, slots=True)
class Condition:
    """What must hold of a difference of means, in points of mIoU."""

    key: str
    text: str
    higher: str  # a cell
    lower: str = ""  # a cell; none: the score of the proxies of set 1 on the training images
    points: float
    within: bool = False  # the difference is at most so large, on either side; else at least so large
    source: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells that it reads."""
        return tuple(filter(None, (self.lower, self.higher)))


CONDITIONS = (
    Condition(
        key="strong-above-weak",
        text="few strong labels are better than many weak ones by 6 points or more",
        higher=STRONG,
        lower=WEAK,
        points=6.0,
        source="Table 2: 68.9 - 57.0 = 11.9 points; about half of it",
    ),
    Condition(
        key="all-strong-above-strong",
        text="all strong labels are better than few by 2.5 points or more",
        higher=ALL_STRONG,
        lower=STRONG,
        points=2.5,
        source="Table 2: 71.4 - 68.9 = 2.5 points",
    ),
    Condition(
        key="weak-near-proxies",
        text="many weak labels give a network within 8 points of its proxies' own score on the training images",
        higher=WEAK,
        points=8.0,
        within=True,
        source="a threshold of ours: the paper prints 57.0 for weak labels, and no score of its proxies",
    ),
)


def content() -> dict[str, dict[str, Any]]:
    """Return the conditions as values by key, to be fixed before anything is run."""
    return {one.key: asdict(one) for one in CONDITIONS}
