"""What tables may say of a method: its branches, and what each of them may learn from. The method itself, with its
network and losses, is the file of its name in `swdb/methods/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from swdb.core.errors import BadInput
from swdb.specs.decoupled import STRIDES

# What a branch may learn from; the words of the printed tables stand in each row's labels.
LABEL_SETS = {
    "strong": "the strong images with their masks ('1.4k strong')",
    "strong+weak": "the strong images with masks, all others with proxy masks ('1.4k strong + 9k weak')",
    "weak": "all images with proxy masks ('10k weak')",
    "all-strong": "all images with masks ('10k strong')",
}


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """The words that rows and columns may use for a method."""

    branches: tuple[str, ...]  # who predicts; a run has those whose `<branch>_branch` it sets
    label_sets: Mapping[str, str]
    foreign: tuple[str, ...] = ()  # what a row may vary of other methods, and means nothing to this one
    at_points: bool = True  # whether its network predicts at points that lie several pixels apart
    every_class: bool = False  # whether it cannot learn without a strong image of every class
    # What a training reads of the preset (groups, or group.setting), and what each is made from beyond data and proxies.
    settings: tuple[str, ...] = ("network", "training")
    made_from: tuple[str, ...] = ("weights",)
    backbones: tuple[str, ...] = ()  # on which it can be built; none: on all
    needs: str = ""  # what those have

    def can_be_built_on(self, backbone: str) -> bool:
        """Whether a backbone has what the method needs."""
        return not self.backbones or backbone in self.backbones


METHODS = {
    "strong-weak": MethodSpec(("strong", "weak"), LABEL_SETS),
    "decouplednet": MethodSpec(
        ("strong",),
        {"strong": LABEL_SETS["strong"]},
        foreign=("oversample", "shared_layers", "kl", "proxy_set", "start_from"),
        at_points=False,
        every_class=True,
        settings=("decouplednet", "training.longest_side"),
        made_from=("recognizer",),
        backbones=tuple(STRIDES),
        needs="pools that keep switches",
    ),
}


def lacks(method: str, backbone: str) -> str:
    """Say what a method needs that a backbone has not, in one clause; nothing where it can be built on it."""
    words = METHODS[method]
    if words.can_be_built_on(backbone):
        return ""
    return f"it needs {words.needs} ({', '.join(words.backbones)}), and {backbone} has none"


def check_backbone(method: str, backbone: str, where: str) -> None:
    """Refuse a method on a backbone that lacks what it needs, with those that have it."""
    words = METHODS[method]
    if not words.can_be_built_on(backbone):
        found = f"method {method!r} needs {words.needs}, and the preset's backbone {backbone!r} has none"
        raise BadInput(where, found, f"network.backbone {', '.join(words.backbones[:-1])} or {words.backbones[-1]}")
