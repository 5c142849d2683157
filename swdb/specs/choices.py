"""Where the paper is silent and no setting stands for it: what was chosen, and where it can be changed.

Each stands here and nowhere else in words; `register.py` lists them beside the settings. The status of all is UNKNOWN.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Something that had to be chosen."""

    key: str
    text: str
    place: str  # the switch, or the module or table that does it
    tables: tuple[int, ...] = ()  # in which numbers may hang on it


ALL = (1, 2, 3, 4)
CHOICES = (
    Choice(
        "single-branch",
        "a single-branch row is the dual network without its second head: same backbone, same n = 3 shared layers",
        "swdb/methods/strong_weak.py; shared_layers in tables/; reading no-neck in tables/sensitivity.toml",
        (1, 2),
    ),
    Choice(
        "neck",
        "shared layers are 3x3 convolutions with ReLU, without batch norm, as wide as network.neck_channels",
        "swdb/nn/networks.py, neck",
        (3,),
    ),
    Choice(
        "head",
        "a branch's own layers are DeepLab-LargeFOV's fc6, fc7 and fc8",
        "swdb/nn/networks.py, head",
        ALL,
    ),
    Choice(
        "dual-batch",
        "each head's loss is taken on its own part of a dual batch (training.strong_share), and the losses are summed",
        "swdb/methods/strong_weak.py",
        (2, 3, 4),
    ),
    Choice(
        "equal-steps",
        "all rows of a preset take the same number of steps: oversampling changes the mix, not the length",
        "training.steps; swdb/methods/training.py",
        (1, 2),
    ),
    Choice("order", "a set is gone through in a new order every epoch, each image once", "swdb/nn/sampling.py"),
    Choice(
        "fine-tuning",
        "fine-tuning starts from the same seed's weak run and takes as many steps again, at the full rates: that row has "
        "had twice the training of the others",
        "start_from in tables/table1.toml; readings same-total and twice-the-steps in tables/sensitivity.toml",
        (1,),
    ),
    Choice(
        "kl-images",
        "the KL constraint sees all images of a batch and both heads, and its gradients reach both",
        "swdb/methods/strong_weak.py",
        (2,),
    ),
    Choice(
        "two-networks",
        '"two separate networks" are the single-branch runs of what the two branches learn from (n = 3), of one seed; they '
        "are combined by the mean of their class probabilities",
        "average in tables/table3.toml",
        (3,),
    ),
    Choice(
        "few-strong",
        "Table 4 draws k different images for each class from the strong set, 5 in 10 in 25, one draw per seed",
        "few_strong in tables/; reading occurrences in tables/sensitivity.toml; swdb/nn/sampling.py, strong_subset",
        (4,),
    ),
    Choice(
        "few-strong-weak-set",
        "Table 4's weak branch learns from all training images, the drawn ones with their true masks",
        "weak_branch in tables/table4.toml",
        (4,),
    ),
    Choice(
        "decouplednet-windows",
        "DecoupledNet is asked for every set of classes of every strong image equally often, in windows drawn at random around "
        "the set's pixels; its own lists, made from region proposals, are not to be had",
        "decouplednet.subsets; decouplednet.room",
        (4,),
    ),
    Choice(
        "decouplednet-switches",
        "where a backbone's first layer has a stride of 2 (all but VGG16), no switch brings that back: DecoupledNet's scores "
        "are enlarged bilinearly; SqueezeNet's pools are 2x2 for it, and fires stand behind the last one",
        "swdb/methods/decoupled_network.py",
        (4,),
    ),
    Choice(
        "decouplednet-missed-tags",
        "asked for by its true tags, DecoupledNet treats a class that it missed as found, with the threshold as its probability",
        "swdb/methods/decoupled_prediction.py, class_maps",
    ),
    Choice(
        "which-proxies",
        "proxies of DSRG's first round feed all rows but the one that is called retrain, which learns from the second's",
        "proxy_set in tables/",
        (1, 2, 3, 4),
    ),
    Choice(
        "one-pair-of-proxies",
        "proxies are made once and shared by all seeds, unless each is given its own",
        "--proxy-seeds",
        (2,),
    ),
    Choice(
        "prediction",
        "predictions are scored without a CRF",
        "--crf of eval",
        ALL,
    ),
    Choice("selection", "the last weights are scored; nothing is chosen on val", "swdb/methods/training.py", ALL),
    Choice(
        "decay",
        "weight decay acts on all tensors, biases too, as Adam's does in torch",
        "swdb/nn/trainer.py",
    ),
    Choice(
        "masks",
        "true masks of the strong images are VOC's own, of the others SBD's",
        "swdb/data/sources/importer.py",
        (2,),
    ),
    Choice("tags", "image-level labels come from boxes, unless others are named", "--image-labels of prepare-voc"),
)
