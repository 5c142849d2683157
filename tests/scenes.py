"""A validation split made by hand, runs with networks that say something, and the tools that an evaluation is handed."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from conftest import TINY
from PIL import Image
from studies import CPU, graph_of

from swdb.core.artefact import Artefact
from swdb.core.progress import Advance
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import palette_png
from swdb.evaluation.evaluate import evaluate
from swdb.methods.strong_weak import StrongWeak, StrongWeakNetwork
from swdb.nn.checkpoints import WEIGHTS, save_tensors
from swdb.nn.networks import Preprocessing
from swdb.specs.presets import load_preset
from swdb.specs.tables import CellSource
from swdb.specs.tasks import ScoreTask, Scoring, run_task

CLASSES = ["background", "alpha", "beta", "gamma", "delta", "epsilon"]
SIZES = {"a": (32, 32), "b": (32, 32), "c": (20, 28), "d": (16, 24), "e": (32, 32)}  # height, width
ODD = {"a": (21, 30), "b": (17, 31)}  # no multiples of the backbone's stride
PLAIN = Preprocessing()
STRONG, WEAK = Scoring("strong"), Scoring("weak")
SEED = 3


@dataclass
class Finished:
    """A finished run, and the network that it ended with."""

    artefact: Artefact
    network: StrongWeakNetwork
    preprocessing: Preprocessing = PLAIN

    def save(self) -> None:
        """Write the network and the record as a training does."""
        sha256 = save_tensors(self.artefact.folder / WEIGHTS, self.network.state_dict())
        machine = {"device": "cpu", "name": f"of {self.artefact.name}"}
        self.artefact.finish({"digest": sha256, "preprocessing": asdict(self.preprocessing), "machine": machine})

    def says(self, branch: str, label: int) -> None:
        """Let a branch predict one class everywhere."""
        last = self.network.heads[branch][-1]
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(F.one_hot(torch.tensor(label), 6).float())
        self.save()

    def logits(self, inputs: torch.Tensor, branch: str = "strong") -> torch.Tensor:
        """Return logits of raw images of 0..255, (B, 3, H, W), without what lies beyond the image."""
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.preprocessing.mean, self.preprocessing.std))
        with torch.no_grad():
            logits = self.network.logits(self.network.features((inputs - mean) / std), branch)
        return logits[..., : inputs.shape[2], : inputs.shape[3]]


@dataclass
class Scene:
    """A validation split and runs; the tools that an evaluation is handed."""

    data: DataSet
    runs: list[Finished]
    score: Callable[[Scoring], Artefact]
    compute = CPU

    def dataset(self, artefact: Artefact) -> DataSet:
        assert artefact.kind == "data"
        return self.data

    def progress(self, name: str, total: int, counts: bool = False) -> Advance:
        assert not counts  # of optimizer steps alone
        self.total, self.told = total, []
        return lambda done, of: self.told.append((done, of))

    def tell(self, line: str) -> None:
        raise AssertionError(line)

    def evaluate(self, scoring: Scoring = STRONG, longest_side: int = 0) -> dict:
        score = replace(self.score(scoring), task=ScoreTask(scoring, longest_side))
        record = evaluate(score, self)
        score.finish(record)
        return record

    @property
    def run(self) -> Finished:
        return self.runs[0]

    def prediction(self, image_id: str, scoring: Scoring = STRONG) -> Path:
        return self.score(scoring).folder / "predictions" / f"{image_id}.png"

    def truth(self, image_id: str) -> Path:
        return self.data.mask_path(image_id, VAL_SPLIT)

    def image(self, image_id: str) -> torch.Tensor:
        """Read an image as the evaluation should have read it, (1, 3, H, W) float of 0..255."""
        return torch.from_numpy(read(self.data.image_path(image_id)).copy()).permute(2, 0, 1)[None].float()


def scene_of(sizes: dict, tmp_path: Path, names: tuple[str, ...] = ("dual",)) -> Scene:
    preset = load_preset(TINY)
    graph = graph_of(tmp_path / "work", preset)
    manifest = {"classes": CLASSES, "digest": "f" * 64, "counts": {"val": len(sizes)}}
    data = DataSet(graph.data.folder, preset.data, manifest)
    for path in (data.image_path(""), data.mask_path("", VAL_SPLIT), data.list_path(VAL_SPLIT)):
        path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for image_id, size in sizes.items():
        small = rng.integers(0, 256, (5, 5, 3), np.uint8)
        Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(data.image_path(image_id))
        mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), size, p=[0.5, 0.2, 0.2, 0.1])
        data.mask_path(image_id, VAL_SPLIT).write_bytes(palette_png(mask))
    data.list_path(VAL_SPLIT).write_text("\n".join(sizes) + "\n")
    specs, runs = [graph.run_spec(name) for name in names], []
    for k, spec in enumerate(specs):
        torch.manual_seed(k + 1)
        network = StrongWeak().network(run_task(preset, spec), 6)
        with torch.no_grad():  # so that an untrained network says different things at different places
            for head in network.heads.values():
                head[-1].weight.normal_(std=3.0)
        runs.append(Finished(graph.run(spec, SEED), network.eval()))
        runs[-1].save()
    return Scene(data, runs, lambda scoring: graph.score(CellSource(tuple(specs), scoring.branch), SEED, scoring))


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))
