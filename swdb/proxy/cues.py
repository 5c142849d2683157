"""Seed cues of all training images as one small file: from a classifier's activation maps, or from a published file.

in: images, tags, initial weights, or somebody's cues -> out: `cues/<id>/{cues.npz, cues.json, done.json}`
"""

from typing import Any

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import Stage, file_digest, write_json
from swdb.data import voc
from swdb.data.dataset import DataSet
from swdb.data.store import Store
from swdb.nn.classifier import train_classifier
from swdb.nn.compute import Machine
from swdb.nn.initial_weights import load_initial
from swdb.nn.networks import BACKBONES
from swdb.proxy.cams import forget_parts, make_cues
from swdb.proxy.cue_file import cues_of, matched, read_cue_file, write_cue_file
from swdb.proxy.grid import GRID, cue_map, restrict
from swdb.proxy.saliency import background_cells, check_saliency, saliency_digest
from swdb.proxy.sec_cues import read_cues
from swdb.study.plan import Artefact, Work

FILE = "cues.npz"


def make_cue_artefact(
    work: Work, artefact: Artefact, data: DataSet, store: Store, machine: Machine, stage: Stage
) -> None:
    """Make the cues of all training images, within their tags, and a manifest that says what they lack."""
    tags = data.tags(store.ids)
    if work.preset.proxy.cues == "file":
        maps, counted = _published(work, data, store.ids, tags)
    else:
        maps, counted = _from_classifier(work, artefact, data, store, tags, machine, stage)
    if not ((maps != 0) & (maps != voc.IGNORE)).any():
        of = work.cues_file if work.preset.proxy.cues == "file" else "the classifier"
        raise BadInput(
            f"{of} has no cues for any of the {len(store.ids)} training images; expected cues of these images and of their classes"
        )
    lacking = _lacking(maps, tags, data.class_names)
    path = artefact.folder / FILE
    write_cue_file(path, store.ids, maps, data.class_names)
    digest = file_digest(path)
    manifest = {
        "id": artefact.id,
        "file": FILE,
        "sha256": digest,
        "images": len(store.ids),
        "grid": GRID,
        "classes": data.class_names,
        "values": "0 background, 1.. classes, 255 no cue",
        "recipe": artefact.recipe,
        **counted,
        **lacking,
    }
    write_json(artefact.folder / "cues.json", manifest)
    forget_parts(artefact.folder)
    artefact.finish({"cues_sha256": digest, "counts": counted | lacking})


def load_cues(artefact: Artefact, data: DataSet, ids: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Read finished cues as maps (N, 41, 41) uint8, and what their manifest counted; raises MissingArtefact for other bytes."""
    record = artefact.read_record("swdb make-proxy")
    path = artefact.folder / FILE
    again = f"delete the folder {artefact.folder} and run the same command again"
    if not path.is_file() or file_digest(path) != record["cues_sha256"]:
        raise MissingArtefact(f"{path} is missing or damaged; {again}")
    maps, _ = cues_of(path, ids, data.class_names, again)
    return maps, record["counts"]


def _published(work: Work, data: DataSet, ids: list[str], tags: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the published cues of the training images as maps (N, 41, 41) uint8 within their tags, and count."""
    path = work.cues_file
    assert path is not None
    mend = f"swdb make-proxy {work.options} --cues FILE"
    if path.suffix == ".npz":
        contents = read_cue_file(path, mend)
        found, known = matched(contents, ids, data.class_names)
        total = len(contents[0])
    elif not path.name.endswith((".pickle", ".pickle.gz")):
        raise BadInput(f"--cues {path}: expected a localization_cues.pickle or .pickle.gz, or a cues.npz of swdb's")
    else:
        cues = read_cues(path, mend)
        table, empty = voc.kept_labels(data.data.classes), np.zeros((3, 0), np.int64)
        found = np.stack([cue_map(cues.cells.get(image_id, empty), table) for image_id in ids])
        known = np.array([image_id in cues.cells for image_id in ids])
        total = len(cues.cells)
    maps = np.stack([restrict(one, of_image) for one, of_image in zip(found, tags, strict=True)])
    return maps, {
        "source": path.name,
        "images_unknown_to_the_cues": int((~known).sum()),
        "cues_of_other_images": total - int(known.sum()),
    }


def _from_classifier(
    work: Work, artefact: Artefact, data: DataSet, store: Store, tags: np.ndarray, machine: Machine, stage: Stage
) -> tuple[np.ndarray, dict[str, Any]]:
    """Train the classifier on the tags, and make cues of its activation maps."""
    preset, saliency = work.preset, work.saliency
    _check_tags(tags, data.class_names)
    background = None
    if saliency is not None:
        check_saliency(saliency.folder, store.ids, store.sizes.tolist())
        if saliency_digest(saliency.folder) != saliency.sha256:
            raise BadInput(
                f"the maps in {saliency.folder} are others than when the folder was named; name it again: swdb make-proxy {work.options} --saliency DIR"
            )
        threshold = preset.proxy.saliency_threshold

        def background(image_id: str, size: tuple[int, int]) -> np.ndarray:
            return background_cells(saliency.folder, image_id, size, threshold)

    backbone = BACKBONES[preset.network.backbone]()
    look = load_initial(work.initial_weights, backbone)
    progress = stage(artefact.name, artefact.steps, counts=True)
    classifier, training = train_classifier(
        artefact.folder, artefact.id, backbone, store, tags, preset, preset.proxy.steps, look, machine, progress
    )
    settings = (preset.proxy.cam_sizes, preset.proxy.threshold, preset.proxy.background_share)
    progress = stage(f"{artefact.name} maps", len(store.ids))
    maps = make_cues(artefact.folder, classifier, store, tags, settings, look, machine, progress, background)
    return maps, {"source": "classifier", "training": training}


def _check_tags(tags: np.ndarray, class_names: list[str]) -> None:
    for column, name in enumerate(class_names[1:]):
        if not tags[:, column].any():
            raise BadInput(
                f"no training image has the class {name!r}; a classifier cannot learn it: check image_labels.csv"
            )


def _lacking(maps: np.ndarray, tags: np.ndarray, class_names: list[str]) -> dict[str, Any]:
    """Count what the cues lack: tags without cues, images without tags, without background, classes without any cue."""
    cued = np.stack([(maps == label).any((1, 2)) for label in range(len(class_names))], 1)  # (N, C) bool
    return {
        "images_without_tags": int((~tags.any(1)).sum()),
        "images_with_a_tag_without_a_cue": int((tags & ~cued[:, 1:]).any(1).sum()),
        "images_without_background_cues": int((~cued[:, 0]).sum()),
        "classes_without_a_cue": [name for name, any_cue in zip(class_names, cued.any(0), strict=True) if not any_cue],
    }
