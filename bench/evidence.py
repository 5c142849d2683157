"""How fast bundles are written and rescored, at the sizes of `synthetic` and VOC. `python bench/evidence.py [--quick]`.

Predictions are drawn, not computed: 54 runs on 400 images of 64x64, and 18 runs on 1,449 images of 500x375 in 21 classes.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from drawn import finish  # noqa: E402 - the tests' drawn study
from studies import graph_of  # noqa: E402

from swdb.core.progress import silent  # noqa: E402
from swdb.data.facts import ALL_SPLIT, STRONG_SPLIT, VAL_SPLIT  # noqa: E402
from swdb.data.images import palette_png  # noqa: E402
from swdb.data.prepare import NO_SOURCES, prepare  # noqa: E402
from swdb.data.sources.voc2012 import Sources  # noqa: E402
from swdb.data.voc import DEVKIT, IGNORE, VOC2012  # noqa: E402
from swdb.evidence.bundle import bundle  # noqa: E402
from swdb.evidence.rescore import rescored  # noqa: E402
from swdb.specs.presets import Preset, as_toml, load_preset  # noqa: E402
from swdb.specs.tables import load_tables  # noqa: E402
from swdb.study.plan import read_plan  # noqa: E402
from swdb.study.stages import DATA  # noqa: E402

TRAINED = 40  # images that are there to make a whole data set, and are never read


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    share = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as folder:
        preset = load_preset("synthetic")
        settings = replace(preset.data, name="bench", num_strong=8, num_train=TRAINED, num_val=400 // share)
        measure(Path(folder) / "scenes", replace(preset, data=settings), range(3), NO_SOURCES)
        source = Path(folder) / "voc"
        draw_tree(source, 1449 // share)
        preset = load_preset("voc")
        settings = replace(preset.data, name="bench", num_strong=0, num_train=0, num_val=0, available_only=True)
        named = replace(preset, data=settings, network=replace(preset.network, weights="random"))
        named = replace(named, proxy=replace(named.proxy, cues="classifier"))
        measure(Path(folder) / "photographs", named, range(1), Sources(source, image_labels="masks"))


def measure(folder: Path, preset: Preset, seeds: range, sources: Sources) -> None:
    """Finish a study, and print how long its bundle takes to write and to rescore."""
    graph = graph_of(folder, preset)
    dataset = prepare(preset.data, DATA.artefact(graph.study).folder, sources, silent)
    counts = {split: len(dataset.ids(split)) for split in (STRONG_SPLIT, ALL_SPLIT, VAL_SPLIT)}
    counted = replace(
        preset.data, num_strong=counts[STRONG_SPLIT], num_train=counts[ALL_SPLIT], num_val=counts[VAL_SPLIT]
    )
    preset = replace(preset, data=counted)
    graph = graph_of(folder, preset)
    finish(graph, seeds)
    plan, output = read_plan(graph.study), folder / "bundle.zip"
    began = time.perf_counter()
    bundle(graph.study, plan, as_toml(preset), load_tables(), [1, 2, 3, 4], output, silent)
    written = time.perf_counter() - began
    began, busy = time.perf_counter(), time.process_time()
    with rescored(output, None if sources is NO_SOURCES else folder, silent) as found:
        assert found.holds, found.findings[:3]
    spent, busy = time.perf_counter() - began, time.process_time() - busy
    runs = len({run.id for score in plan.scores.values() for run in score.inputs if run.kind == "run"})
    print(
        f"{folder.name}: {runs} runs, {found.predictions:,} predictions, {output.stat().st_size / 1e6:.0f} MB: "
        f"written in {written:.1f} s, rescored in {spent:.1f} s ({busy:.1f} s of one core)",
        flush=True,
    )


def draw_tree(root: Path, val: int) -> None:
    """Draw images and masks as large as VOC's, in its layout."""
    rng, kit = np.random.default_rng(0), root / DEVKIT
    for name in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (kit / name).mkdir(parents=True)
    weak = TRAINED + val
    lists = {STRONG_SPLIT: range(TRAINED), VAL_SPLIT: range(TRAINED, weak), ALL_SPLIT: range(weak, weak + TRAINED)}
    for split, rows in lists.items():
        if split != ALL_SPLIT:  # that one is told by the masks that are there
            VOC2012.layout.list_path(root, split).write_text("".join(f"2008_{row:06d}\n" for row in rows))
        masks = kit / ("SegmentationClassAug" if split == ALL_SPLIT else "SegmentationClass")
        for row in rows:
            coarse = cv2.resize(rng.normal(0, 50, (8, 10, 3)), (500, 375))
            Image.fromarray(np.clip(120 + coarse, 0, 255).astype(np.uint8)).save(
                kit / "JPEGImages" / f"2008_{row:06d}.jpg"
            )
            smooth = cv2.resize(rng.normal(size=(8, 8)), (500, 375), interpolation=cv2.INTER_CUBIC)
            labels = np.where(smooth > 0.5, 1 + row % 20, 0).astype(np.uint8)
            if split != ALL_SPLIT:
                labels[np.abs(smooth - 0.5) < 0.05] = IGNORE
            (masks / f"2008_{row:06d}.png").write_bytes(palette_png(labels))


if __name__ == "__main__":
    main()
