"""The benchmark of a preset: every kind of step of its study, made by the stages themselves on random images of its size.

Nothing is downloaded or prepared; what one kind needs of another (a trained network, masks, cues) has random contents. What
would take too long on this machine is left out, and estimated from its operations and the speed of what was measured.

in: a preset, a device -> out: what `bench/<preset>.json` says
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swdb.core.artefact import Artefact
from swdb.core.errors import reason
from swdb.core.processor import usable_cores
from swdb.core.progress import Progress
from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT
from swdb.methods.decoupled_network import Recognizer
from swdb.methods.method import METHODS
from swdb.nn.checkpoints import WEIGHTS, room_for, save_tensors
from swdb.nn.classifier import new_classifier
from swdb.nn.compute import Compute
from swdb.nn.networks import BACKBONES
from swdb.proxy.dsrg import DsrgNetwork
from swdb.specs.decoupled import Decoupled
from swdb.specs.preprocessing import Preprocessing
from swdb.specs.presets import Preset
from swdb.specs.runs import RunSpec
from swdb.specs.settings import non_defaults
from swdb.specs.study import Study
from swdb.specs.tables import CellSource, all_runs, load_tables
from swdb.specs.tasks import run_task
from swdb.study import stages
from swdb.study.graph import Graph
from swdb.timing.crowd import MOST as MOST_WORKERS
from swdb.timing.crowd import SLOWEST, crowded_seconds
from swdb.timing.operations import matmul_ceiling, prediction_flops, proxy_flops, recognizer_flops, step_flops
from swdb.timing.plain_loop import plain_seconds
from swdb.timing.random_set import finish_cues, random_settings, shape_of, write_random_masks, write_random_set
from swdb.timing.rates import VERSION, run_kind, this_machine
from swdb.timing.stopwatch import Timing, Tools, count_waits, forget_peak, peak_mib, time_images, time_training

LIMIT = 200.0  # seconds: kinds that would end later are left out
MOST = 20.0  # seconds for one kind, if a single step does not take longer
USUAL_SHARE = 0.4  # of the ceiling, that a step reaches before one was measured
TRAIN_PIXELS, VAL_PIXELS = 400_000, 600_000  # as many images as are labelled or predicted together
PLAIN_STEPS = 12
BESIDE = 99  # the seed of the run that is timed again
LONG = 10**6  # steps of the trainings: they are ended from outside


@dataclass
class Bench:
    """A benchmark under way."""

    preset: Preset
    compute: Compute
    graph: Graph  # of the same preset with random data in an empty folder
    data: DataSet
    steps: int
    ceiling: float
    runs: dict[str, RunSpec]  # one of every kind
    flops: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    crowd: dict[str, Any] | None = None  # of a dual run, trained on every core at once
    plain: dict[str, Any] | None = None  # of the plain loop
    told: list[str] = field(default_factory=list)  # what people should know of it
    ends: float = 0.0

    @property
    def images(self) -> dict[str, int]:
        """How many images a step of each kind sees."""
        preset = self.preset
        batches = dict.fromkeys(self.runs, preset.training.batch) | {"decoupled": preset.decouplednet.batch}
        batches["recognizer"] = preset.decouplednet.recognizer_batch
        proxies = {"classifier": preset.proxy.batch, "dsrg-1": preset.dsrg.batch, "dsrg-2": preset.dsrg.retrain_batch}
        return batches | proxies

    def tools(self, count: int, whole: bool = False) -> Tools:
        """Return the tools for one kind of work."""
        return Tools(self.compute, self.data, count, MOST, whole)

    def seconds_of(self, kind: str) -> float:
        """Return what a step or an image may take, from its operations and the speed of what is most like it."""
        same = self.kinds.get(kind.partition("-n")[0])
        measured = [same] if same else [one for one in self.kinds.values() if one["unit"] == "step"]
        speeds = [one["tflops"] for one in measured if one["tflops"]] or [USUAL_SHARE * self.ceiling]
        return self.flops[kind] / (sum(speeds) / len(speeds)) / 1e12

    def note(self, kind: str, unit: str, timing: Timing | None, **more: Any) -> None:
        """Keep what was measured of a kind; None: what is estimated."""
        seconds = self.seconds_of(kind) if timing is None else timing.seconds
        flops = self.flops.get(kind)
        tflops = flops / seconds / 1e12 if flops and timing else None
        self.kinds[kind] = {
            "unit": unit,
            "seconds": seconds,
            "images_per_second": (self.images[kind] if unit == "step" else 1) / seconds,
            "tflops": tflops,
            "share_of_ceiling": tflops and tflops / self.ceiling,
            "data_share": timing and timing.data_share,
            "measured": timing is not None,
            "count": timing.count if timing else 0,
            **more,
        }

    def has_time(self, kind: str) -> bool:
        """Whether what is left of the time is enough for a kind of work."""
        return not self.kinds or time.monotonic() + self.seconds_of(kind) < self.ends

    def training(self, kind: str, artefact: Artefact) -> None:
        """Measure the steps of a stage that trains."""
        if not self.has_time(kind):
            self.note(kind, "step", None)
            return
        tools = self.tools(self.steps)
        make = lambda tools: stages.STAGES[artefact.kind].make(artefact, tools)  # noqa: E731
        again = lambda: shutil.rmtree(artefact.folder, ignore_errors=True)  # noqa: E731
        forget_peak(self.compute.device)
        timing = time_training(make, tools, again)
        peak = peak_mib(self.compute.device)
        self.note(kind, "step", timing, peak_mib=peak, waits=count_waits(make, tools, again))
        again()

    def now(self, kind: str) -> float:
        """Return what a step of a run takes now: beside something that it is compared to, for machines have moods."""
        if self.kinds[kind]["seconds"] > SLOWEST:
            return self.kinds[kind]["seconds"]
        artefact = self.graph.run(self.runs[kind], BESIDE)
        again = lambda: shutil.rmtree(artefact.folder, ignore_errors=True)  # noqa: E731
        return time_training(lambda tools: stages.RUN.make(artefact, tools), self.tools(PLAIN_STEPS), again).seconds

    def per_image(self, kind: str, artefact: Artefact, count: int, whole: bool = False) -> None:
        """Measure the images of a stage that goes image by image."""
        if not self.has_time(kind):
            self.note(kind, "image", None)
            return
        forget_peak(self.compute.device)
        timing = time_images(lambda tools: stages.STAGES[artefact.kind].make(artefact, tools), self.tools(count, whole))
        files = list(artefact.folder.glob("**/*.png"))
        size = {"bytes": sum(path.stat().st_size for path in files) / len(files)} if files else {}
        self.note(kind, "image", timing, peak_mib=peak_mib(self.compute.device), **size)


def benchmark(preset: Preset, compute: Compute, steps: int, progress: Progress) -> dict[str, Any]:
    """Measure a preset on a device; returns what is kept of it."""
    began = time.monotonic()
    ceilings = {name: matmul_ceiling(compute.device, name) for name in dict.fromkeys((compute.precision, "fp32"))}
    with tempfile.TemporaryDirectory(prefix="swdb-bench-") as folder:
        bench = begin(preset, compute, steps, ceilings[compute.precision], Path(folder))
        bench.ends = began + LIMIT
        work = list(work_of(bench))
        advance = progress(f"measure {preset.name}", len(work))
        for done, measure in enumerate(work, start=1):
            measure()
            advance(done, len(work))
        for kind in bench.runs:  # of the kinds that differ in the number of shared layers, the usual one was measured
            if kind not in bench.kinds:
                bench.note(kind, "step", None)
        weights = _weights_bytes(bench)
    for name, before in ceilings.items():  # again: the machine may have been busy then, and not since
        ceilings[name] = max(before, matmul_ceiling(compute.device, name))
    for one in bench.kinds.values():
        if one["share_of_ceiling"]:
            one["share_of_ceiling"] = one["tflops"] / ceilings[compute.precision]
    return {
        "version": VERSION,
        "preset": preset.name,
        "settings": preset.digest(),
        "precision": compute.precision,
        "date": f"{datetime.now():%Y-%m-%d %H:%M}",
        "machine": compute.describe() | this_machine() | {"cores": usable_cores()},
        "ceiling_tflops": ceilings,
        "kinds": bench.kinds,
        "crowd": bench.crowd,
        "plain": bench.plain,
        "told": bench.told,
        "weights_bytes": weights,
        "seconds": round(time.monotonic() - began, 1),
    }


def begin(preset: Preset, compute: Compute, steps: int, ceiling: float, folder: Path) -> Bench:
    """Plan the study of a random data set, and finish all that its trainings are made from."""
    height, width = shape_of(preset.data)
    area, batches = height * width, (preset.training.batch, preset.dsrg.batch, preset.dsrg.retrain_batch)
    num_train = max(*batches, preset.proxy.batch, preset.data.num_classes, min(128, TRAIN_PIXELS // area))
    small = replace(
        preset,
        data=random_settings(preset.data, num_train, max(4, min(256, VAL_PIXELS // area))),
        network=replace(preset.network, weights="random"),
        training=replace(preset.training, steps=LONG),
        proxy=replace(preset.proxy, steps=LONG, cues="classifier"),
        dsrg=replace(preset.dsrg, steps=LONG, retrain_steps=LONG),
        decouplednet=_endless(preset.decouplednet),
    )
    every = all_runs(load_tables())
    graph = Graph(Study(folder, small, compute.precision), every)
    runs: dict[str, RunSpec] = {}
    for run in sorted(filter(graph.can_make, every.values()), key=lambda run: not run.needs_proxies):
        runs.setdefault(run_kind(non_defaults(run)), run)
    data = write_random_set(graph.data.folder, small.data)
    bench = Bench(preset, compute, graph, data, steps, ceiling, runs)
    bench.flops = {kind: step_flops(preset, run) for kind, run in runs.items()} | proxy_flops(preset)
    if "decoupled" in runs:
        bench.flops["recognizer"] = recognizer_flops(preset)
    bench.flops["evaluation"] = prediction_flops(preset, runs["dual"], (height, width))
    graph.weights.finish(stages.WEIGHTS.make(graph.weights, bench.tools(1)))
    finish_cues(graph.cues, bench.data)
    _finish(graph.proxies(1), DsrgNetwork(BACKBONES[preset.network.backbone](), preset.dsrg, data.num_classes), data)
    return bench


def work_of(bench: Bench) -> Iterator[Callable[[], None]]:
    """Yield what is to be measured: what matters most comes first, for there may be no time for all."""
    graph, preset, runs = bench.graph, bench.preset, bench.runs
    steps = {kind: graph.run(runs[kind], 0) for kind in ("dual", "single", "dual-kl")}

    def run(kind: str) -> Callable[[], None]:
        return lambda: bench.training(kind, steps[kind])

    def evaluation() -> None:
        _finish(steps["dual"], _network(preset, runs["dual"], bench.data.num_classes))
        score = graph.score(CellSource((runs["dual"],), runs["dual"].branches[0]), 0)
        bench.per_image("evaluation", score, LONG, whole=True)

    def proxies(proxy_set: int) -> Callable[[], None]:
        steps = {"steps": LONG - 1} if proxy_set == 1 else {}  # another one than that which runs learn from
        return lambda: bench.training(f"dsrg-{proxy_set}", _with(graph, **steps).proxies(proxy_set))

    yield run("dual")
    yield evaluation
    yield lambda: _crowd(bench)
    yield run("single")
    yield run("dual-kl")
    if "decoupled" in runs:
        yield lambda: bench.training("recognizer", graph.recognizer)
        yield lambda: _decoupled(bench)
    yield proxies(2)
    for proxy_set in (1, 2):
        yield lambda proxy_set=proxy_set: _labels(bench, proxy_set)
    yield proxies(1)
    if preset.proxy.cues == "classifier" or preset.network.weights == "pretext":
        yield lambda: bench.training("classifier", graph.cues.input("classifier"))
    if preset.proxy.cues == "classifier":
        yield lambda: _cues(bench)
    yield lambda: _plain(bench)


def _endless(settings: Decoupled) -> Decoupled:
    return replace(settings, recognizer_steps=LONG, steps=(LONG,) * len(settings.steps))


def _decoupled(bench: Bench) -> None:
    """Measure the steps of a run of DecoupledNet, behind a recognizer with random values."""
    preset, num_tags = bench.preset, bench.data.num_classes - 1
    _finish(bench.graph.recognizer, Recognizer(preset.network.backbone, preset.decouplednet, num_tags))
    bench.training("decoupled", bench.graph.run(bench.runs["decoupled"], 0))


def _network(preset: Preset, run: RunSpec, num_classes: int) -> nn.Module:
    return METHODS[run.method].network(run_task(preset, run), num_classes)


def _with(graph: Graph, **dsrg: int) -> Graph:
    """Plan the same study with other settings of [dsrg]."""
    preset = graph.study.preset
    return Graph(replace(graph.study, preset=replace(preset, dsrg=replace(preset.dsrg, **dsrg))), graph.runs)


def _labels(bench: Bench, proxy_set: int) -> None:
    """Measure the labelling of images, behind a training of one step with one image."""
    graph = bench.graph
    artefact = _with(graph, steps=1, batch=1, retrain_steps=1, retrain_batch=1).proxies(proxy_set)
    if proxy_set == 2:
        first, network = artefact.input("proxies"), BACKBONES[bench.preset.network.backbone]()
        shutil.rmtree(first.folder, ignore_errors=True)
        _finish(first, DsrgNetwork(network, bench.preset.dsrg, bench.data.num_classes), bench.data)
    views = len(bench.preset.dsrg.test_sizes if proxy_set == 1 else bench.preset.dsrg.retrain_scales)
    bench.flops[f"labels-{proxy_set}"] = views * bench.flops["dsrg-1"] // (3 * bench.preset.dsrg.batch)
    bench.per_image(f"labels-{proxy_set}", artefact, bench.data.settings.num_train)
    bench.kinds[f"labels-{proxy_set}"]["tflops"] = bench.kinds[f"labels-{proxy_set}"]["share_of_ceiling"] = None


def _cues(bench: Bench) -> None:
    """Measure the reading of cues off a classifier's maps, forwards and backwards at each size, mirrored too."""
    cues, classifier = bench.graph.cues, bench.graph.cues.input("classifier")
    _finish(classifier, new_classifier(BACKBONES[bench.preset.network.backbone](), bench.data.num_classes - 1))
    views = 2 * len(bench.preset.proxy.cam_sizes)
    bench.flops["cues"] = views * bench.flops["classifier"] // bench.preset.proxy.batch
    shutil.rmtree(cues.folder)
    bench.per_image("cues", cues, bench.data.settings.num_train)
    bench.kinds["cues"]["tflops"] = bench.kinds["cues"]["share_of_ceiling"] = None


def _finish(artefact: Artefact, network: nn.Module, masks_of: DataSet | None = None) -> None:
    """Finish an artefact that is trained, with random weights, and random masks where it has some."""
    weights = save_tensors(artefact.folder / WEIGHTS, network.state_dict())
    digest = weights if masks_of is None else write_random_masks(artefact, masks_of, masks_of.ids(ALL_SPLIT))
    artefact.finish(
        {
            "digest": digest,
            "training": {"steps": 1, "seconds": 1.0, "weights_sha256": weights},
            "preprocessing": asdict(Preprocessing()),
            "machine": {},
        }
    )


def _weights_bytes(bench: Bench) -> dict[str, int]:
    """Return the bytes of the weights of each kind of network."""
    preset, classes = bench.preset, bench.data.num_classes
    backbone = BACKBONES[preset.network.backbone]
    with torch.device("meta"):
        networks = {kind: _network(preset, run, classes) for kind, run in bench.runs.items()}
        dsrg = DsrgNetwork(backbone(), preset.dsrg, classes)
        networks |= {"backbone": backbone(), "classifier": new_classifier(backbone(), classes - 1)}
        networks |= {"dsrg-1": dsrg, "dsrg-2": dsrg}
        if "decoupled" in bench.runs:
            networks["recognizer"] = Recognizer(preset.network.backbone, preset.decouplednet, classes - 1)
    return {kind: room_for(network) for kind, network in networks.items()}


def _crowd(bench: Bench) -> None:
    """Measure how much slower a dual run is where one is trained on every core; not on a GPU, nor where steps are long."""
    processes = min(usable_cores() // torch.get_num_threads(), MOST_WORKERS)
    if bench.compute.device.type != "cpu" or processes < 2 or bench.kinds["dual"]["seconds"] > SLOWEST:
        return
    alone = bench.now("dual")
    study, run = bench.graph.study, bench.runs["dual"].name
    try:
        seconds = crowded_seconds(study.folder, study.preset, study.precision, run, torch.get_num_threads(), processes)
    except RuntimeError as error:  # there may be no memory for so many
        bench.told.append(f"{processes} runs at once: {reason(error)}")
        return
    speed = processes * bench.preset.training.batch / seconds
    bench.crowd = {
        "processes": processes,
        "seconds": seconds,
        "slowdown": max(1.0, seconds / alone),
        "images_per_second": speed,
    }


def _plain(bench: Bench) -> None:
    """Measure the plain loop with a worker process for each core, as usual, and with our threads or, as usual, with one for
    each core, whichever is faster; not where it takes too long.
    """
    device, threads, cores = bench.compute.device, torch.get_num_threads(), usable_cores()
    batch = 2 * round(bench.preset.training.batch * bench.preset.training.strong_share)
    found = []
    for number in dict.fromkeys((threads, cores)):
        left = bench.ends - time.monotonic()
        if bench.flops["dual"] / (USUAL_SHARE * bench.ceiling) / 1e12 > left:
            break
        torch.set_num_threads(number)
        try:
            seconds, count = plain_seconds(
                bench.preset, bench.runs["dual"], bench.data, device, cores, PLAIN_STEPS, min(MOST, left)
            )
        except RuntimeError as error:  # workers of a DataLoader want room in /dev/shm
            bench.told.append(f"the plain loop: {reason(error)}")
            break
        finally:
            torch.set_num_threads(threads)
        found.append(
            {"threads": number, "workers": cores, "seconds": seconds, "count": count, "ours": bench.now("dual")}
        )
    if not found:
        return
    best = min(found, key=lambda one: one["seconds"])
    speed, ours = batch / best["seconds"], min(one["ours"] for one in found)  # of both, the best of as many tries
    ratios = {"ratio": bench.preset.training.batch / ours / speed}
    if bench.crowd is not None:
        ratios["ratio_of_all_cores"] = ratios["ratio"] * bench.crowd["processes"] / bench.crowd["slowdown"]
    bench.plain = best | {"images_per_second": speed, **ratios, "tried": found}
