"""Settings of DecoupledNet, the method of Table 4's column [1]: a preset's [decouplednet].

in: nothing -> out: the dataclass that `presets.py` reads

Its files are those of DecoupledNet's public code; the solver of each number of images is `training/*/solver.prototxt`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

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
    SCALE,
    SHARE,
    UNKNOWN,
    Check,
    each,
    one_of,
    setting,
)

STRIDES = {"small": 8, "squeezenet1_1": 16, "vgg16": 32}  # of features, in backbones whose pools keep switches


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoupled:
    """DecoupledNet (Hong, Noh, Han, NIPS 2015), column [1] of Table 4: a recognizer says what there is, a decoder where.

    The values are those of DecoupledNet's public code (caffe) and of its paper; `images`, `steps` and `decay_at` go together.
    """

    size: int = setting("pixels, square", INFERRED, "320: 005_train_seg_5_anno.prototxt, crop_size", AT_LEAST_16)
    window: int = setting(
        "pixels, square",
        INFERRED,
        "windows are warped to it, a crop of `size` is taken: 350, select_seg_binary_layer.cpp",
        AT_LEAST_16,
    )
    kernel: int = setting("cells of fc6, square", INFERRED, "7: fp_bp_network.prototxt", DILATION)
    recognizer_channels: int = setting(
        "channels of fc6 and fc7", INFERRED, "4096, VGG16's own: fp_bp_network.prototxt", CHANNELS
    )
    recognizer_steps: int = setting(
        "optimizer steps", UNKNOWN, "the solver of this stage is not published", AT_LEAST_1, tables=(4,)
    )
    recognizer_batch: int = setting(
        "images", UNKNOWN, "64 at VGG16, believed to be the paper's (Hong et al.), not checked", BATCH
    )
    recognizer_lr_backbone: float = setting(
        "the optimizer's step",
        UNKNOWN,
        "of what the weights have: 0.001 at VGG16, believed to be the paper's (Hong et al.), not checked",
        ABOVE_0,
    )
    recognizer_lr_new: float = setting("the optimizer's step", UNKNOWN, "for what the weights do not have", ABOVE_0)
    recognizer_scale_min: float = setting(
        "factor", UNKNOWN, "of the size at which whole images are asked about", SCALE, tables=(4,), default=1.0
    )
    recognizer_scale_max: float = setting(
        "factor", UNKNOWN, "as recognizer_scale_min", SCALE, tables=(4,), default=1.25
    )
    tags: str = setting(
        "image or crop",
        UNKNOWN,
        "a crop's tags are its image's, or those of the masks inside it: window_cls_data_layer.cpp",
        one_of(("image", "crop")),
        tables=(4,),
        default="image",
    )
    channels: int = setting("channels of fc6-seg and fc7-seg", INFERRED, "2048: as size", CHANNELS)
    init_std: float = setting(
        "spread of initial values, 0: He's", INFERRED, "gaussian, 0.01: as size", AT_LEAST_0, default=0.0
    )
    subsets: str = setting(
        "all or single",
        INFERRED,
        "every set of an image's classes is asked for, or one class at a time: combinatorial cropping, Hong et al.",
        one_of(("all", "single")),
        default="all",
    )
    most_classes: int = setting(
        "classes of an image, of which sets are made",
        UNKNOWN,
        "7: at most 127 sets",
        Check(lambda n: 1 <= n <= 16, "1 to 16"),
        default=7,
    )
    room: float = setting(
        "share of the free space",
        UNKNOWN,
        "each side of a window moves out by up to this much; the published lists are not to be had",
        SHARE,
        tables=(4,),
        default=0.5,
    )
    images: tuple[int, ...] = setting(
        "strong images per class", INFERRED, "of which `steps` says how many: training/005, 010, 025", each(AT_LEAST_1)
    )
    steps: tuple[int, ...] = setting(
        "optimizer steps", INFERRED, "5500, 7500, 15000: solver.prototxt", each(AT_LEAST_1)
    )
    decay_at: tuple[float, ...] = setting(
        "share of the steps", INFERRED, "at 4000 for 5 images, at 10000 for the others: solver.prototxt", each(SHARE)
    )
    decay_factor: float = setting("factor", INFERRED, "gamma: solver.prototxt", DECAY, default=0.1)
    optimizer: str = setting(
        "sgd (momentum 0.9) or adam, of both networks", INFERRED, "solver.prototxt", one_of(("sgd", "adam"))
    )
    batch: int = setting("windows", INFERRED, "64: 4, and iter_size 16 of solver.prototxt", BATCH)
    norm_images: int = setting(
        "windows that a batch norm learns over, 0: the batch",
        INFERRED,
        "4: batch_size; iter_size makes it no larger",
        AT_LEAST_0,
        default=0,
    )
    norm_batches: int = setting(
        "batches",
        INFERRED,
        "over which the statistics for predicting are taken: BN_make_INFERENCE_script.py",
        AT_LEAST_1,
    )
    norm_batch: int = setting(
        "windows", INFERRED, "16, of those batches: BN_make_INFERENCE_script.py", BATCH, default=16
    )
    lr: float = setting("the optimizer's step", INFERRED, "0.01: solver.prototxt", ABOVE_0)
    warmup: int = setting("steps of a linear rise", INFERRED, "none in solver.prototxt", AT_LEAST_0, default=0)
    weight_decay: float = setting(
        "per step, L2 in the gradient", INFERRED, "not for biases and norms: solver.prototxt", AT_LEAST_0, default=5e-4
    )
    clip_norm: float = setting(
        "largest norm of all gradients, 0 for none", INFERRED, "none in the code", AT_LEAST_0, default=0.0
    )
    threshold: float = setting(
        "probability", INFERRED, "above it a class is found: DecoupledNet_inference.m", BETWEEN_0_AND_1, default=0.5
    )

    @property
    def of_recognizer(self) -> dict[str, Any]:
        """What the recognizer is trained with; its rate decays as that of a run on all strong images."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name.startswith("recognizer_")}
        shared = ("size", "kernel", "tags", "optimizer", "warmup", "decay_factor", "weight_decay", "clip_norm")
        return own | {name: getattr(self, name) for name in shared} | {"decay_at": self.decay_at[-1]}

    def schedule(self, per_class: int) -> tuple[int, float]:
        """Return steps and the share of them at which the rate decays, for strong images per class (0: all there are)."""
        places = range(len(self.images))
        at = next((place for place in places if 0 < per_class <= self.images[place]), places[-1])
        return self.steps[at], self.decay_at[at]

    def checks(self, backbone: str) -> Iterator[tuple[bool, str, Any, str]]:
        """List what must go together: whether it does, the setting, its value, and what was expected."""
        if (stride := STRIDES.get(backbone)) is not None:  # else the method's runs are refused, and not the preset
            yield from self._checks_of_features(stride)
        one_each, order = "one for each of decouplednet.images", "each number larger than the one before"
        scales, images, share = (self.recognizer_scale_min, self.recognizer_scale_max), self.images, self.norm_images
        least = min(*self.steps, self.recognizer_steps)
        yield self.warmup < least, "decouplednet.warmup", self.warmup, f"less than the fewest steps, {least}"
        yield self.size <= self.window, "decouplednet.size", self.size, "at most decouplednet.window"
        for name, values in (("steps", self.steps), ("decay_at", self.decay_at)):
            yield len(values) == len(images), f"decouplednet.{name}", list(values), one_each
        yield list(images) == sorted(set(images)), "decouplednet.images", list(images), order
        at_most = "at most decouplednet.recognizer_scale_max"
        yield scales[0] <= scales[1], "decouplednet.recognizer_scale_min", scales[0], at_most
        parts = "0, or a number by which decouplednet.batch can be divided"
        yield share == 0 or self.batch % share == 0, "decouplednet.norm_images", share, parts

    def _checks_of_features(self, stride: int) -> Iterator[tuple[bool, str, Any, str]]:
        """List what must go together with the stride of the backbone's features."""
        cells, share = self.size // stride, self.norm_images
        whole = self.size % stride == 0
        yield whole, "decouplednet.size", self.size, f"a multiple of {stride}, the backbone's stride"
        yield self.kernel <= cells, "decouplednet.kernel", self.kernel, f"at most {cells}, the features of size"
        alone = self.kernel == cells and 1 in (share or self.batch, self.norm_batch)  # one value has no spread
        yield not alone, "decouplednet.norm_images", share, "2 or more, as norm_batch: fc6 leaves a single place"
