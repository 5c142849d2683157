"""Tasks: what making an artefact of each kind takes, as values. A stage plans them, and reads nothing else when it makes.

What an artefact is made from besides (data, weights, proxies, ...) are its inputs.
"""

from dataclasses import dataclass

from swdb.specs.decoupled import Decoupled
from swdb.specs.dsrg import Dsrg
from swdb.specs.preprocessing import Choice
from swdb.specs.presets import ClassifierTraining, Data, Network, Preset, Proxy, Training
from swdb.specs.runs import RunSpec
from swdb.specs.study import NamedFile


@dataclass(frozen=True)
class WeightsTask:
    """Initial weights: from a file, a download, or a pretext."""

    backbone: str
    weights: str  # as the preset says
    file: NamedFile | None  # instead of that
    data: Data  # of which a pretext is another world
    pretext: ClassifierTraining
    preprocessing: Choice | None = None  # of the file; what is downloaded or made here has its own


@dataclass(frozen=True)
class HeadsTask:
    """What DSRG's heads begin with: layers of what the initial weights come from."""

    weights: WeightsTask
    channels: int


@dataclass(frozen=True)
class ClassifierTask:
    """A classifier of image-level labels."""

    backbone: str
    training: ClassifierTraining
    seed: int = 0


@dataclass(frozen=True)
class CuesTask:
    """Seed cues: from a file, or from a classifier's maps and perhaps saliency maps."""

    file: NamedFile | None
    saliency: NamedFile | None
    proxy: Proxy
    longest_side: int  # pixels; images are shrunk to it, 0: as they are


@dataclass(frozen=True)
class ProxiesTask:
    """A set of proxy masks."""

    proxy_set: int  # 1, or 2 for the retrain round
    backbone: str
    dsrg: Dsrg
    longest_side: int
    image_side: int  # pixels; of the images as the networks and the CRF see them
    seed: int = 0


@dataclass(frozen=True)
class RunTask:
    """One training with one seed."""

    run: RunSpec
    seed: int
    network: Network
    training: Training
    decouplednet: Decoupled | None = None  # of that method's runs

    @property
    def steps(self) -> int:
        """How many optimizer steps it takes."""
        if self.decouplednet is not None:
            return self.decouplednet.schedule(self.run.strong_per_class or 0)[0]
        return self.training.steps

    @property
    def num_strong(self) -> int:
        """How many images of a batch, the first ones, belong to the strong branch."""
        batch = self.training.batch
        return round(batch * self.training.strong_share) if self.run.dual else batch


def run_task(preset: Preset, run: RunSpec, seed: int = 0) -> RunTask:
    """Return what training a run of a preset takes."""
    decouplednet = preset.decouplednet if run.method == "decouplednet" else None
    return RunTask(run, seed, preset.network, preset.training, decouplednet)


@dataclass(frozen=True)
class RecognizerTask:
    """DecoupledNet's recognizer: a classifier of image-level labels, which runs of the method ask what there is."""

    backbone: str
    settings: Decoupled
    longest_side: int
    seed: int = 0

    @property
    def begins_whole(self) -> bool:
        """Whether fc6 and fc7 begin with the weights' own, as in DecoupledNet's code: of the backbones VGG16 alone has them."""
        return self.backbone == "vgg16"


@dataclass(frozen=True)
class Scoring:
    """How a prediction is made and scored on the validation split."""

    branch: str
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: str | None = None  # the name of a set of parameters in crf_parameters.py

    @property
    def name(self) -> str:
        """A readable name, such as `val-strong` or `val-weak-0.75-1-1.25-flip`."""
        scales = (
            "" if self.scales == (1.0,) else "-" + "-".join(repr(scale).removesuffix(".0") for scale in self.scales)
        )
        crf = "" if self.crf is None else f"-crf-{self.crf}"
        return f"val-{self.branch}{scales}{'-flip' if self.flip else ''}{crf}"


@dataclass(frozen=True)
class ScoreTask:
    """A score of one run, or of the averaged predictions of several."""

    scoring: Scoring
    longest_side: int


@dataclass(frozen=True)
class RecognitionTask:
    """What the recognizer behind a run finds on the validation split, and the run's score with true tags in its place."""

    scoring: Scoring
    longest_side: int


@dataclass(frozen=True)
class LabTask:
    """One run evaluated in all ways that are in use."""

    scoring: Scoring  # the preset's own, from which the others differ
    longest_side: int
    crop: int  # pixels; the side of training's crops
    largest: int  # pixels; the longest side that an image may have
    preset: str
    comparable: bool  # with the paper
    printed: float | None  # what the paper prints for this run and branch


@dataclass(frozen=True)
class PeekTask:
    """A run's training once more, scored on the way."""

    scorings: tuple[Scoring, ...]  # one for each branch
    longest_side: int
    points: int  # how often it is scored, at equal distances, the last time at the end
