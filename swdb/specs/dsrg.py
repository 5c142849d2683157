"""DSRG's settings: a network on cues that grow, then a second round on its masks. Values alone, no torch.

in: a preset's [dsrg] -> out: a frozen dataclass
"""

from dataclasses import dataclass

from swdb.specs.crf_parameters import CRF_SETS
from swdb.specs.settings import (
    ABOVE_0,
    AT_LEAST_0,
    AT_LEAST_1,
    AT_LEAST_16,
    BATCH,
    BETWEEN_0_AND_1,
    CHANNELS,
    DECAY,
    DILATION,
    INFERRED,
    INTERVAL,
    POWER,
    PROBABILITY,
    SCALE,
    UNKNOWN,
    each,
    one_of,
    setting,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dsrg:
    """Deep seeded region growing (Huang et al., CVPR 2018): a network on cues that grow, then a second round on its masks.

    "The paper takes DSRG" is all that it says; the values are those of DSRG's public code.
    """

    size: int = setting("pixels, square", INFERRED, "images are warped to it: train-s.prototxt", AT_LEAST_16)
    test_sizes: tuple[int, ...] = setting(
        "pixels, square", INFERRED, "logits are summed over these: test-ms.py", each(AT_LEAST_16)
    )
    dilations: tuple[int, ...] = setting("features", INFERRED, "a head each, summed: train-s.prototxt", each(DILATION))
    head_channels: int = setting("channels of a head's own layers", INFERRED, "fc6 and fc7: train-s.prototxt", CHANNELS)
    head_init: str = setting(
        "random or fc6-fc7",
        INFERRED,
        "fc6 and fc7 of ImageNet's VGG16, thinned, where the weights have them: vgg16_20M_mc, from which run.sh starts",
        one_of(("random", "fc6-fc7")),
        omit_default=True,
        default="random",
    )
    dropout: float = setting("probability", INFERRED, "drop6 and drop7: train-s.prototxt", PROBABILITY)
    optimizer: str = setting("sgd (momentum 0.9) or adam", INFERRED, "solver-s.prototxt", one_of(("sgd", "adam")))
    steps: int = setting("optimizer steps", INFERRED, "solver-s.prototxt", AT_LEAST_1)
    batch: int = setting("images", INFERRED, "train-s.prototxt", BATCH)
    lr_backbone: float = setting("the optimizer's step", INFERRED, "solver-s.prototxt", ABOVE_0)
    lr_new: float = setting("the optimizer's step", INFERRED, "for fc6 and fc7: solver-s.prototxt", ABOVE_0)
    lr_last: float = setting("the optimizer's step", INFERRED, "for fc8, lr_mult 10: train-s.prototxt", ABOVE_0)
    warmup: int = setting("steps of a linear rise", INFERRED, "none in solver-s.prototxt", AT_LEAST_0, default=0)
    decay_every: float = setting(
        "share of the steps", INFERRED, "stepsize 1000 of 8000: solver-s.prototxt", INTERVAL, default=0.125
    )
    decay_factor: float = setting("factor", INFERRED, "gamma: solver-s.prototxt", DECAY, default=0.33)
    weight_decay: float = setting(
        "per step, L2 in the gradient", INFERRED, "not for biases: solver-s.prototxt", AT_LEAST_0
    )
    clip_norm: float = setting(
        "largest norm of all gradients, 0 for none", INFERRED, "none in the code", AT_LEAST_0, default=0.0
    )
    grow_foreground: float = setting(
        "probability", INFERRED, "above it cues may grow: pylayers.py", BETWEEN_0_AND_1, default=0.85
    )
    grow_background: float = setting("probability", INFERRED, "as grow_foreground", BETWEEN_0_AND_1, default=0.99)
    crf: str = setting(
        "a set of parameters by name",
        INFERRED,
        "pylayers.py and test-ms.py; see swdb/specs/crf_parameters.py",
        one_of(CRF_SETS),
        default="dsrg",
    )
    crf_gradient: bool = setting(
        "yes or no",
        UNKNOWN,
        "the boundary loss sends gradient through the CRF, times 1 - q: pylayers.py; SEC, whose loss it is, sends none",
        omit_default=True,
        default=False,
    )
    tags_only: bool = setting(
        "yes or no", INFERRED, "masks keep background and the image's tags only; not in run.sh", default=False
    )
    retrain_steps: int = setting("optimizer steps", INFERRED, "solver-f.prototxt", AT_LEAST_1)
    retrain_batch: int = setting("images", INFERRED, "train-f.prototxt", BATCH)
    retrain_rate: float = setting(
        "factor of the three steps", INFERRED, "1e-3 after 5e-4: solver-f.prototxt", ABOVE_0, default=2.0
    )
    retrain_power: float = setting("power of the poly schedule", INFERRED, "solver-f.prototxt", POWER, default=0.9)
    retrain_scales: tuple[float, ...] = setting(
        "factors", INFERRED, "test-ms-f.py, which keeps the aspect", each(SCALE), default=(0.75, 1.0, 1.25)
    )
