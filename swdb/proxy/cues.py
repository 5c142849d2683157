"""Seed cues of all training images as one small file: from a classifier's activation maps, or from a published file.

in: images and tags with a trained classifier, or somebody's cues -> out: `cues/<id>/{cues.npz, cues.json, done.json}`
"""

from typing import Any

import numpy as np

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import file_digest, is_intact, write_json
from swdb.core.stage import Tools
from swdb.data.dataset import DataSet
from swdb.data.facts import ALL_SPLIT
from swdb.data.store import Store
from swdb.data.voc import IGNORE, kept_labels
from swdb.nn.checkpoints import load_weights
from swdb.nn.classifier import new_classifier
from swdb.nn.model import Model
from swdb.nn.networks import BACKBONES, preprocessing_of, valueless
from swdb.proxy.cams import CamSettings, forget_parts, make_cues
from swdb.proxy.cue_file import cues_of, lacking_lines, matched, read_cue_file, write_cue_file
from swdb.proxy.evidence import check_claims
from swdb.proxy.grid import GRID, cue_map, restrict
from swdb.proxy.saliency import background_by_saliency, check_saliency, judge_saliency, saliency_digest
from swdb.proxy.sec_cues import CUE_LIST, SEC_LIST, read_cues
from swdb.specs.study import NamedFile
from swdb.specs.tasks import CuesTask

FILE = "cues.npz"
PICKLED = (".pickle", ".pickle.gz")


def make_cue_artefact(artefact: Artefact, tools: Tools) -> dict[str, Any]:
    """Make the cues of all training images, within their tags; returns what their record says, and what they lack."""
    task: CuesTask = artefact.task
    dataset = tools.dataset(artefact.input("data"))
    ids = dataset.ids(ALL_SPLIT)
    tags = dataset.tags(ids)
    maps, counted = (
        _published(task, dataset, ids, tags) if task.file else _from_classifier(artefact, dataset, tags, tools)
    )
    if not ((maps != 0) & (maps != IGNORE)).any():
        of = f"--cues {task.file.path}" if task.file else "the classifier"
        raise BadInput(
            of, f"no cues for any of the {len(ids)} training images", "cues of these images and their classes"
        )
    counts = counted | _lacking(maps, tags, dataset.class_names)
    path = artefact.folder / FILE
    write_cue_file(path, ids, maps, dataset.class_names)
    sha256 = file_digest(path)
    manifest = {
        "id": artefact.id,
        "file": FILE,
        "sha256": sha256,
        "images": len(ids),
        "grid": GRID,
        "classes": dataset.class_names,
        "values": "0 background, 1.. classes, 255 no cue",
        "key": artefact.key,
        **counts,
    }
    write_json(artefact.folder / "cues.json", manifest)
    forget_parts(artefact.folder)
    for line in lacking_lines(counts):
        tools.tell(line)
    return {"digest": sha256, "counts": counts}


def load_cues(artefact: Artefact, dataset: DataSet, ids: list[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Read finished cues as maps (N, 41, 41) uint8, and what was counted; raises MissingArtefact for other bytes."""
    path = artefact.folder / FILE
    if not is_intact(path, artefact.digest()):
        raise MissingArtefact(path, "missing or damaged", "the cues that were made")
    maps, _ = cues_of(path, ids, dataset.class_names)
    return maps, artefact.read_record()["counts"]


def verify_cues(file: NamedFile) -> None:
    """Make sure that published cues are those that were named, and that the list beside them is that of then."""
    file.verify("--cues")
    if not file.path.name.endswith(PICKLED):
        return
    id_list = file.path.with_name(CUE_LIST)
    if not id_list.is_file():
        raise MissingArtefact(id_list, "missing", f"the {CUE_LIST} published with the cues")
    if file_digest(id_list) != file.digests.get("list", SEC_LIST):
        raise BadInput(id_list, "has changed since it was named", "the contents of then")


def _published(task: CuesTask, dataset: DataSet, ids: list[str], tags: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the published cues of the training images as maps (N, 41, 41) uint8 within their tags, and count.

    Raises BadInput where their classes contradict the tags: they are of other images, then.
    """
    assert task.file is not None
    verify_cues(task.file)
    path, names = task.file.path, dataset.class_names
    if path.suffix == ".npz":
        contents = read_cue_file(path)
        found, known = matched(contents, ids, names, f"--cues {path}")
        total, unknown = len(contents[0]), [name for name in contents[2][1:] if name not in names[1:]]
        said = speaks = None
        cause = "was the file made for another data set?"
    elif not path.name.endswith(PICKLED):
        expected = "a localization_cues.pickle or .pickle.gz, or a cues.npz of swdb's"
        raise BadInput(f"--cues {path}", "of another form", expected)
    else:
        cues = read_cues(path)
        table, empty = kept_labels(dataset.settings.classes), np.zeros((3, 0), np.int64)
        found = np.stack([cue_map(cues.points.get(image_id, empty), table) for image_id in ids])
        known = np.array([image_id in cues.points for image_id in ids])
        total, unknown = len(cues.points), []
        own = np.arange(256) if table is None else table
        labels = [own[list(cues.labels.get(image_id, ()))] for image_id in ids]
        said = np.stack([np.isin(range(1, len(names)), of_image) for of_image in labels])
        speaks = np.array([len(of_image) > 0 for of_image in labels])
        cause = f"is the {CUE_LIST} beside them another one?"
        check_claims(f"--cues {path}", ids, said, tags, speaks, names, cause)  # their labels alone, then all they say
    seeded = np.stack([(found == label).any((1, 2)) for label in range(1, len(names))], 1)  # (N, C-1) bool
    said, speaks = (seeded, seeded.any(1)) if said is None else (said | seeded, speaks | seeded.any(1))
    check_claims(f"--cues {path}", ids, said, tags, speaks, names, cause)
    maps = np.stack([restrict(one, of_image) for one, of_image in zip(found, tags, strict=True)])
    counts: dict[str, Any] = {
        "source": path.name,
        "images_unknown_to_the_cues": int((~known).sum()),
        "cues_of_other_images": total - int(known.sum()),
    }
    if beyond := int((seeded & ~tags).any(1).sum()):
        counts["images_with_cues_beyond_their_tags"] = beyond
    if unknown:
        counts["classes_unknown_to_the_data"] = unknown
    return maps, counts


def _from_classifier(
    artefact: Artefact, dataset: DataSet, tags: np.ndarray, tools: Tools
) -> tuple[np.ndarray, dict[str, Any]]:
    """Make cues of a trained classifier's activation maps."""
    task: CuesTask = artefact.task
    store, saliency = tools.store(artefact.input("data"), task.longest_side).images_only, task.saliency
    background = None
    if saliency is not None:
        check_maps(saliency, store)

        def background(image_id: str, size: tuple[int, int]) -> np.ndarray:
            return background_by_saliency(saliency.path, image_id, size, task.proxy.saliency_threshold)

    classifier = artefact.input("classifier")
    model = load_classifier(classifier, tags.shape[1], tools)
    proxy = task.proxy
    settings = CamSettings(proxy.cam_sizes, proxy.threshold, proxy.background_share)
    advance = tools.progress(f"{artefact.name} maps", len(store.ids))
    maps = make_cues(artefact.folder, model, store, tags, settings, advance, background)
    return maps, {"source": "classifier"}


def look_at_maps(task: CuesTask, store: Store, tools: Tools) -> None:
    """Look at all saliency maps before anything is trained, at their values too; says what people should know."""
    check_maps(task.saliency, store)
    sizes, advance = store.sizes.tolist(), tools.progress("look at the saliency maps", len(store.ids))
    for line in judge_saliency(task.saliency.path, store.ids, sizes, task.proxy.saliency_threshold, advance):
        tools.tell(line)


def check_maps(saliency: NamedFile, store: Store) -> None:
    """Make sure that the saliency maps are those that were named, and one of the right shape for every image."""
    check_saliency(saliency.path, store.ids, store.sizes.tolist())
    if saliency_digest(saliency.path) != saliency.digests["saliency"]:
        raise BadInput(f"--saliency {saliency.path}", "has changed since it was named", "the maps of then")


def load_classifier(artefact: Artefact, num_tags: int, tools: Tools) -> Model:
    """Load a finished classifier with the preprocessing that goes with it."""
    with valueless():
        network = new_classifier(BACKBONES[artefact.task.backbone](), num_tags)
    load_weights(artefact.folder, artefact.digest(), network)
    return Model(tools.compute.layout(network).eval(), preprocessing_of(artefact.read_record()), tools.compute)


def _lacking(maps: np.ndarray, tags: np.ndarray, class_names: list[str]) -> dict[str, Any]:
    """Count what the cues lack: tags without cues, images without tags, without background, classes without any cue."""
    cued = np.stack([(maps == label).any((1, 2)) for label in range(len(class_names))], 1)  # (N, C) bool
    return {
        "images_without_tags": int((~tags.any(1)).sum()),
        "images_with_a_tag_without_a_cue": int((tags & ~cued[:, 1:]).any(1).sum()),
        "images_without_background_cues": int((~cued[:, 0]).sum()),
        "classes_without_a_cue": [name for name, any_cue in zip(class_names, cued.any(0), strict=True) if not any_cue],
    }
