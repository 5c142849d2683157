"""Counts predictions again: every pixel of every image, of all scores, against the truth, and compares with what was counted.

in: a bundle, finished scores, true masks -> out: counts by score; a finding for each prediction that was counted otherwise
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swdb.core.errors import BadInput, MissingArtefact, SwdbError
from swdb.core.files import BROKEN_NPZ
from swdb.core.parallel import in_order
from swdb.core.progress import Progress
from swdb.data.audit import mask_digest
from swdb.data.dataset import DataSet
from swdb.data.facts import VAL_SPLIT
from swdb.data.images import decode_mask, size_text
from swdb.data.voc import IGNORE
from swdb.evaluation.confusion import COUNTS, PREDICTIONS, confusion, read_counts
from swdb.evidence.bundle_reader import Bundle, Finding

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_PAIRS = 4  # of classes that a finding names

Truth = Callable[[str], np.ndarray]  # the true mask of an image (H, W) uint8, or a SwdbError


@dataclass(frozen=True)
class Counted:
    """A score to be counted again."""

    place: str  # its folder in the bundle
    counts: np.ndarray  # as they were counted, (images, C, C)

    def prediction(self, image_id: str) -> str:
        """Name a prediction."""
        return f"{self.place}/{PREDICTIONS}/{image_id}.png"


def counted_before(place: str, folder: Path, ids: Sequence[str], num_classes: int) -> Counted:
    """Read what was counted image by image; raises MissingArtefact where it is not for these images and classes."""
    where, shape = f"{place}/{COUNTS}", (len(ids), num_classes, num_classes)
    try:
        with zipfile.ZipFile(folder / COUNTS) as packed:
            if sum(one.file_size for one in packed.infolist()) > 8 * np.prod(shape) + 1000 * len(ids) + 4096:
                raise ValueError
        named, counts = read_counts(folder / COUNTS)
    except (*BROKEN_NPZ, MissingArtefact):
        raise MissingArtefact(where, "damaged or missing", "counts by image") from None
    if counts.shape != shape or named.tolist() != list(ids):
        raise MissingArtefact(where, "is of other images or classes", f"{shape[0]} images, {num_classes} classes")
    return Counted(place, counts)


def recount(
    bundle: Bundle, scores: Sequence[Counted], dataset: DataSet, truth: Truth, progress: Progress
) -> tuple[list[np.ndarray | None], list[Finding]]:
    """Return the counts of each score over all images, None where some cannot be counted, and what does not hold."""
    ids, names = dataset.ids(VAL_SPLIT), dataset.class_names
    totals: list[np.ndarray | None] = [np.zeros((len(names), len(names)), np.int64) for _ in scores]
    advance, findings = progress("count predictions again", len(ids)), []

    def read() -> Iterator[tuple[int, str, list[bytes | Finding]]]:
        for row, image_id in enumerate(ids):
            yield row, image_id, [_content(bundle, one.prediction(image_id)) for one in scores]

    def count(item: tuple[int, str, list[bytes | Finding]]) -> tuple[list[np.ndarray | None], list[Finding]]:
        row, image_id, contents = item
        try:
            true = truth(image_id)
        except SwdbError as error:
            return [None] * len(scores), [Finding.of(error)]
        return _count_image(bundle, scores, contents, true, (row, image_id), names)

    for done, (counted, faults) in enumerate(in_order(count, read()), start=1):
        for k, one in enumerate(counted):
            totals[k] = None if one is None or totals[k] is None else totals[k] + one
        findings += faults
        advance(done, len(ids))
    return totals, findings


def _content(bundle: Bundle, name: str) -> bytes | Finding:
    bundle.checked.add(name)
    if name not in bundle.names:
        return Finding(name, "missing", "a prediction that was counted")
    if name not in bundle.listed:
        return Finding(name, "is not listed", "a prediction with its sha256")
    try:
        return bundle.read(name)
    except BadInput as error:
        return Finding(name, error.found, error.expected)


def _count_image(
    bundle: Bundle,
    scores: Sequence[Counted],
    contents: Sequence[bytes | Finding],
    true: np.ndarray,
    image: tuple[int, str],
    names: Sequence[str],
) -> tuple[list[np.ndarray | None], list[Finding]]:
    """Count one image's prediction of every score."""
    row, image_id = image
    counted: list[np.ndarray | None] = []
    findings = []
    for score, content in zip(scores, contents, strict=True):
        name = score.prediction(image_id)
        if isinstance(content, Finding):
            counted.append(None)
            findings.append(content)
            continue
        try:
            labels = decode_prediction(content, name, true, len(names))
        except BadInput as error:
            counted.append(None)
            findings.append(Finding.of(error))
            continue
        counted.append(found := confusion(true, labels, len(names)))
        fault, other = bundle.fault_of(name, content), difference(score.counts[row], found, names)
        if other or fault:
            parts = [
                f"image {image_id}",
                *([fault.found] if fault else []),
                other or "no pixel that counts is another one",
            ]
            findings.append(
                Finding(name, ": ".join((parts[0], "; ".join(parts[1:]))), "the prediction that was scored")
            )
    return counted, findings


def decode_prediction(content: bytes, name: str, true: np.ndarray, num_classes: int) -> np.ndarray:
    """Decode a prediction (H, W) uint8 as large as the truth; raises BadInput. Nothing is unpacked that is larger."""
    if size := other_size(content, true.shape[1], true.shape[0]):
        raise BadInput(name, size, f"a PNG of {size_text(true)}, as the true mask")
    labels = decode_mask(content, name, num_classes)
    if (labels == IGNORE).any():
        raise BadInput(name, f"has the value {IGNORE}", f"0 to {num_classes - 1}: what is predicted is a class")
    return labels


def other_size(content: bytes, width: int, height: int) -> str:
    """Say where a file is no PNG of a size, by its first bytes; empty where it is one."""
    if content[:8] != SIGNATURE or len(content) < 24:
        return "is no PNG"
    found = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    return "" if found == (width, height) else f"is {found[0]}x{found[1]}"


def difference(then: np.ndarray, now: np.ndarray, names: Sequence[str]) -> str:
    """Say which classes' counts (C, C) are others than they were; empty where none is."""
    changed = now - then
    if not changed.any():
        return ""
    pairs = sorted(np.argwhere(changed).tolist(), key=lambda pair: -abs(changed[tuple(pair)]))
    said = [f"{names[t]} taken for {names[p]}: {then[t, p]} counted, {now[t, p]} found" for t, p in pairs[:MOST_PAIRS]]
    more = f", and {len(pairs) - MOST_PAIRS} more such pairs" if len(pairs) > MOST_PAIRS else ""
    pixels = max(changed[changed > 0].sum(), -changed[changed < 0].sum())
    return f"{pixels} {'pixel is' if pixels == 1 else 'pixels are'} not as counted ({'; '.join(said)}{more})"


# ---------------------------------------------------------------- true masks


def bundled_truth(bundle: Bundle, place: str, dataset: DataSet) -> Truth:
    """Return the true masks that a bundle holds, of drawn scenes."""
    contents = {}
    for image_id in dataset.ids(VAL_SPLIT):  # in this thread: a zip is read by one alone
        name = f"{place}/{dataset.mask_path(image_id, VAL_SPLIT).relative_to(dataset.root).as_posix()}"
        contents[image_id] = name, bundle.content(name)

    def truth(image_id: str) -> np.ndarray:
        name, content = contents[image_id]
        if content is None:
            raise MissingArtefact(f"image {image_id}", "cannot be scored without its true mask", name)
        side = dataset.settings.image_size
        width, height = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
        if other_size(content, width, height) or max(width, height) > side:
            raise BadInput(name, "is no PNG, or too large", f"a mask of at most {side} pixels a side")
        return decode_mask(content, name, dataset.num_classes)

    return truth


def named_truth(dataset: DataSet, contents: Mapping[str, str]) -> Truth:
    """Return the true masks of a data set that was named, each compared with what the audit of the scores' data set saw."""

    def truth(image_id: str) -> np.ndarray:
        path = dataset.mask_path(image_id, VAL_SPLIT)
        mask = dataset.mask(image_id, VAL_SPLIT)
        if mask_digest(dataset, path, mask) != contents.get(path.relative_to(dataset.root).as_posix()):
            raise BadInput(path, "is not the true mask that was scored against", "the data set of the scores")
        return mask

    return truth
