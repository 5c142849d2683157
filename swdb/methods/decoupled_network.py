"""The networks of DecoupledNet (Hong, Noh, Han, NIPS 2015): a recognizer says what there is, a decoder where it is.

The recognizer is trained on tags and then frozen. For a set of classes that is asked for, the bridge makes the gradient of
their scores with respect to the recognizer's features; from both the decoder says which pixels belong to the set.
Written from the paper and the layers of its public code (caffe): `005_train_seg_5_anno.prototxt`, `fp_bp_network.prototxt`.

in: inputs (B, 3, S, S) float, asked (B, C-1) of 0 and 1 -> out: logits (B, 2, S, S) float32 of not asked for, asked for
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swdb.core.errors import BadInput
from swdb.nn.cuda import any_order
from swdb.nn.networks import Grid, small, squeezenet1_1, upsample, vgg16
from swdb.specs.presets import Decoupled

EPSILON = 1e-9  # what batch norms add to a variance: bn_layer.cpp
SHIFT = 0.001  # at which batch norms begin: 005_train_seg_5_anno.prototxt
SCORE_STD = 0.01  # of the initial values of scores, in both networks


def _vgg16() -> nn.Sequential:
    """VGG16 as it is, without DeepLab's dilation: five pools, the last one at its end."""
    layers = vgg16().features[:31]
    return _plain(layers, (4, 9, 16, 23, 30), (layers[24], layers[26], layers[28]))


def _squeezenet1_1() -> nn.Sequential:
    """SqueezeNet 1.1 with pools of 2x2 in the place of 3x3 ones: those overlap, and one maximum would have several places."""
    layers = squeezenet1_1().features
    return _plain(layers, (2, 5, 8), [layers[index].expand3x3 for index in (9, 10, 11, 12)])


def _small() -> nn.Sequential:
    """The small network with a second pool at its end."""
    return _plain(small().features.append(nn.Identity()), (4, 11), ())


def _plain(layers: nn.Sequential, pools: Iterable[int], dilated: Iterable[nn.Conv2d]) -> nn.Sequential:
    """Let pools be 2x2 and keep their switches, and convolutions be dense."""
    for index in pools:
        layers[index] = nn.MaxPool2d(2, return_indices=True)
    for layer in dilated:
        layer.dilation, layer.padding = (1, 1), (1, 1)
    return layers


@dataclass(frozen=True)
class Mirror:
    """A backbone whose pools of 2x2 keep their switches, and the decoder that goes back through them."""

    layers: Callable[[], nn.Sequential]
    channels: int  # of its last features
    inner: int  # channels that the deepest unpooling takes
    widths: tuple[tuple[int, ...], ...]  # of the decoder's layers behind each unpooling, deepest first
    start: Grid  # of the first pool's features: what has no switch is brought back bilinearly


# Where the first layer's stride is 2, and where layers stand behind the last pool (SqueezeNet), it is not DecoupledNet's form.
MIRRORS = {
    "small": Mirror(_small, 64, 64, ((64, 32), (32, 32)), Grid(2, 0.0)),
    "squeezenet1_1": Mirror(_squeezenet1_1, 512, 256, ((128,), (64,), (64,)), Grid(2, 0.0)),
    "vgg16": Mirror(
        _vgg16, 512, 512, ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64)), Grid(1, 0.0)
    ),
}


@dataclass(frozen=True)
class Seen:
    """What a recognizer's backbone makes of images: features (B, D, h, w), and of each pool, where its maxima lay."""

    features: Tensor
    switches: tuple[Tensor, ...]

    def __getitem__(self, rows: Tensor) -> "Seen":
        """Return what was made of some images, a row for each question about one."""
        return Seen(self.features[rows], tuple(switch[rows] for switch in self.switches))


class Encoder(nn.Module):
    """A backbone that keeps the switches of its pools; its tensors are called as those of `nn/networks.py`'s backbones."""

    def __init__(self, layers: nn.Sequential):
        super().__init__()
        self.features = layers

    def forward(self, inputs: Tensor) -> Seen:
        """Map (B, 3, H, W) to features and switches."""
        switches = []
        for layer in self.features:
            inputs = layer(inputs)
            if isinstance(layer, nn.MaxPool2d):
                inputs, switch = inputs
                switches.append(switch)
        return Seen(inputs, tuple(switches))


class Recognizer(nn.Module):
    """The classification network: a backbone, fc6, fc7, and a score of every class at every place; no dropout.

    Trained as their mean over places says (average pool); the bridge takes their maximum.
    """

    def __init__(self, backbone: str, settings: Decoupled, num_tags: int):
        super().__init__()
        mirror, width = _mirror(backbone), settings.recognizer_channels
        self.backbone = Encoder(mirror.layers())
        self.fc6 = nn.Conv2d(mirror.channels, width, settings.kernel)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.scores = nn.Conv2d(width, num_tags, 1)
        begin(self.fc6, 0)
        begin(self.fc7, 0)
        begin(self.scores, SCORE_STD)
        self.fc_pretrained = False  # whether fc6 and fc7 begin with the pretrained weights, too

    def maps(self, features: Tensor) -> Tensor:
        """Return scores at every place, (B, C-1, h, w). No ReLU is in place: the bridge goes back through them."""
        return self.scores(F.relu(self.fc7(F.relu(self.fc6(features)))))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores at every place of images, (B, C-1, h, w); their mean over places is the logit of a tag."""
        return self.maps(self.backbone(inputs).features)

    def groups(self, settings: Decoupled) -> list[dict]:
        """Return the optimizer's groups: what begins with initial weights, what is new; biases without decay."""
        initial, new, middle = [*self.backbone.parameters()], [], [*self.fc6.parameters(), *self.fc7.parameters()]
        (initial if self.fc_pretrained else new).extend(middle)
        new += self.scores.parameters()
        return _groups(initial, settings.recognizer_lr_backbone) + _groups(new, settings.recognizer_lr_new)

    def begin_fully_connected(self, tensors: Mapping[str, Tensor], names: tuple[str, str]) -> bool:
        """Take fc6 and fc7 from those of a VGG16, which have these names, if they fit; returns whether they did."""
        pairs = [
            (getattr(layer, kind), tensors[f"{name}.{kind}"])
            for layer, name in zip((self.fc6, self.fc7), names, strict=True)
            for kind in ("weight", "bias")
        ]
        if any(given.numel() != own.numel() for own, given in pairs):
            return False
        with torch.no_grad():
            for own, given in pairs:
                own.copy_(given.reshape(own.shape))
        self.fc_pretrained = True
        return True


def activation_maps(recognizer: Recognizer, features: Tensor, asked: Tensor, strength: Tensor | None = None) -> Tensor:
    """The bridge: the class-specific activation maps of the classes asked for, (B, D, h, w), which nobody learns through.

    One vector-Jacobian product: sum_c asked_c strength_c d max(scores_c) / d features. It is what the -bp layers of
    `fp_bp_network.prototxt` compute by transposed layers and masks. strength: (B, C-1); without it the probability of the
    maximum, as in training.
    """
    with torch.enable_grad():
        features = features.detach().requires_grad_()
        highest = recognizer.maps(features).flatten(2).max(2).values.float()  # of equal places one, not all
        weights = asked * (highest.sigmoid() if strength is None else strength)
        (gradient,) = torch.autograd.grad((highest * weights.detach()).sum(), features)
    return gradient


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that learns over `images` at a time (0: the whole batch) and keeps no running averages meanwhile.

    `estimate_statistics` takes those with which it predicts, from the last weights.
    """

    def __init__(self, channels: int, images: int):
        super().__init__(channels, eps=EPSILON, momentum=0.0)
        self.images = images
        if not self.bias.is_meta:
            nn.init.constant_(self.bias, SHIFT)

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, C, h, w)."""
        if not self.training or self.momentum is None:  # predicts, or takes statistics
            return super().forward(maps)
        parts = maps.split(self.images or len(maps))
        normed = [F.batch_norm(part, None, None, self.weight, self.bias, True, 0.0, self.eps) for part in parts]
        return normed[0] if len(normed) == 1 else torch.cat(normed)


class Decoder(nn.Module):
    """The segmentation network: from features and activation maps back to pixels, through the switches of the pools."""

    def __init__(self, mirror: Mirror, settings: Decoupled):
        super().__init__()
        width, images, std = settings.channels, settings.norm_images, settings.init_std
        self.start = mirror.start
        self.norm_features, self.norm_maps = BatchNorm(mirror.channels, images), BatchNorm(mirror.channels, images)
        sizes = (2 * mirror.channels, width, width, mirror.inner)
        self.fc6 = _layer(nn.Conv2d(sizes[0], sizes[1], settings.kernel, bias=False), images, std)
        self.fc7 = _layer(nn.Conv2d(sizes[1], sizes[2], 1, bias=False), images, std)
        self.back = _layer(nn.ConvTranspose2d(sizes[2], sizes[3], settings.kernel, bias=False), images, std)
        self.levels, channels = nn.ModuleList(), mirror.inner
        for widths in mirror.widths:
            level = nn.Sequential()
            for one in widths:
                # A deconvolution of 3x3 with stride 1 is a convolution with its kernel turned.
                level.append(_layer(nn.Conv2d(channels, one, 3, padding=1, bias=False), images, std))
                channels = one
            self.levels.append(level)
        self.scores = begin(nn.Conv2d(channels, 2, 1), SCORE_STD)

    def forward(self, seen: Seen, maps: Tensor) -> Tensor:
        """Return logits (B, 2, S, S) float32."""
        found = torch.cat((self.norm_features(seen.features), self.norm_maps(maps)), 1)
        found = self.back(self.fc7(self.fc6(found)))
        for level, switch in zip(self.levels, reversed(seen.switches), strict=True):
            with any_order():  # no place is the maximum of two windows
                found = F.max_unpool2d(found, switch, 2)
            found = level(found)
        logits = self.scores(found)
        return logits.float() if self.start.stride == 1 else upsample(logits, self.start)


class DecoupledNetwork(nn.Module):
    """A frozen recognizer, the bridge and the decoder."""

    def __init__(self, backbone: str, settings: Decoupled, num_classes: int):
        super().__init__()
        self.settings, self.num_classes = settings, num_classes
        self.recognizer = Recognizer(backbone, settings, num_classes - 1).requires_grad_(False)
        self.decoder = Decoder(_mirror(backbone), settings)

    @property
    def backbone(self) -> Encoder:
        """What takes initial weights."""
        return self.recognizer.backbone

    def train(self, mode: bool = True) -> "DecoupledNetwork":
        """Let the decoder learn; the recognizer never does."""
        super().train(mode)
        self.recognizer.eval()
        return self

    def see(self, inputs: Tensor) -> Seen:
        """Return what is the same for all questions about images."""
        with torch.no_grad():
            return self.recognizer.backbone(inputs)

    def answer(self, seen: Seen, asked: Tensor, strength: Tensor | None = None) -> Tensor:
        """Return logits (B, 2, S, S) for classes asked for, (B, C-1) of 0 and 1; see `activation_maps`."""
        return self.decoder(seen, activation_maps(self.recognizer, seen.features, asked, strength))

    def forward(self, inputs: Tensor, asked: Tensor) -> Tensor:
        """Return logits (B, 2, S, S) float32 as they are trained."""
        return self.answer(self.see(inputs), asked)

    def groups(self) -> list[dict]:
        """Return the optimizer's groups: the decoder's filters, and its biases and norms, without decay."""
        return _groups(self.decoder.parameters(), self.settings.lr)


def estimate_statistics(network: DecoupledNetwork, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Take the statistics with which batch norms predict: the mean over batches of inputs and classes asked for.

    From the last weights, not on the way to them: BN_make_INFERENCE_script.py. The network predicts afterwards.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, BatchNorm)]
    network.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all batches
    with torch.no_grad():
        for inputs, asked in batches:
            network(inputs, asked)
    for norm in norms:
        norm.momentum = 0.0
    network.eval()


def begin(layer: nn.Module, std: float) -> nn.Module:
    """Draw a layer's initial values with a spread, or as He et al. (0); biases begin at 0."""
    if layer.weight.is_meta:
        return layer
    if std:
        nn.init.normal_(layer.weight, std=std)
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _layer(filters: nn.Module, images: int, std: float) -> nn.Sequential:
    return nn.Sequential(begin(filters, std), BatchNorm(filters.out_channels, images), nn.ReLU(inplace=True))


def _groups(parameters: Iterable[nn.Parameter], rate: float) -> list[dict]:
    """Split parameters into filters, and biases and norms, which do not decay. (Caffe's biases take double steps.)"""
    parameters = list(parameters)
    filters, others = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() == 1]
    return [{"params": filters, "lr": rate}, {"params": others, "lr": rate, "weight_decay": 0.0}]


def _mirror(backbone: str) -> Mirror:
    if backbone not in MIRRORS:
        raise BadInput(f"backbone {backbone!r}", "has no pools that keep switches", ", ".join(MIRRORS))
    return MIRRORS[backbone]
