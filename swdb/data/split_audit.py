"""What other projects' list files really hold: label quality, leaks, ids that VOC does not have. No torch.

Semi-supervised projects ship lists such as `1_8/labeled.txt`. Lists of one name and size differ in how many of their
images are finely labelled (VOC's own masks) or only from SBD, and images leak between the lists of one setting.

in: a folder of `.txt` and `.lst` files, VOC's own lists -> out: a `SplitsReport`, its table, its findings in sentences
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from swdb.core.errors import BadInput
from swdb.data.split_lists import LABEL, SplitList, Tally, counted, printable, read_list, tally

SUFFIXES = (".txt", ".lst")
VOC_SIZES = (1464, 10582, 1449)  # train, train_aug, val
PARTS = (2, 4, 8, 16, 32)  # "1/8" of train_aug: the sizes under which lists of different quality are quoted
SEVERITY = ("leak", "wrong mask", "unknown", "duplicate", "odd line", "quality", "reference")


@dataclass(frozen=True)
class Reference:
    """VOC's own lists."""

    train: frozenset[str]  # 1,464 finely labelled images
    train_aug: frozenset[str]  # 10,582: these and the 9,118 that SBD adds
    val: frozenset[str]  # 1,449


@dataclass(frozen=True)
class Pair:
    """The names of a labelled and an unlabelled list of one setting, and the images that are in both."""

    labelled: str
    unlabelled: str
    overlap: Tally
    whole: bool  # whether every labelled image is in both


@dataclass(frozen=True)
class Finding:
    """Something that a user of the lists has to know, as a sentence."""

    kind: str  # one of SEVERITY
    lists: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class SplitsReport:
    """All lists below a folder, by name, and what is wrong with them, the worst first."""

    folder: str
    lists: tuple[SplitList, ...]
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    passed_over: tuple[tuple[str, str], ...]  # name, why it was not read


def audit_splits(folder: Path, reference: Reference | None) -> SplitsReport:
    """Read all lists below a folder and compare them with each other and with VOC's own.

    Without a reference what needs it stays None, and one finding says so.
    Links to folders are named, not followed; hidden files are ignored. Raises BadInput where there is no list.
    """
    if not os.path.isdir(folder):
        found = "is a file" if os.path.exists(folder) else "does not exist"
        raise BadInput(f"--audit-splits {folder}", found, "a folder with list files")
    files, passed_over = _files(folder)
    splits = []
    for path in files:
        split = read_list(path, folder)
        if isinstance(split, str):
            passed_over.append((path, split))
        else:
            splits.append(split if reference is None else _compared(split, reference))
    reasons = sorted((printable(path.relative_to(folder).as_posix()), reason) for path, reason in passed_over)
    if not splits:
        seen = "; ".join(f"passed over {name}: {reason}" for name, reason in reasons[:3]) or "no .txt or .lst file"
        raise BadInput(
            f"--audit-splits {folder}",
            f"no list below it ({seen})",
            "files such as 1_8/labeled.txt, with an image id or an image and its mask on every line",
        )
    splits.sort(key=lambda split: split.name)
    pairs = _pairs(splits)
    findings = [*_leaks(splits, pairs, reference), *_faults(splits), *_qualities(splits, reference)]
    findings.sort(key=lambda finding: (SEVERITY.index(finding.kind), finding.lists))
    return SplitsReport(printable(str(folder)), tuple(splits), tuple(pairs), tuple(findings), tuple(reasons))


def _files(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Find the files that may be lists, and what is not searched for them, with the reason."""
    files, passed_over, waiting = [], [], [folder]
    while waiting:
        here = waiting.pop()
        try:
            paths = [path for path in here.iterdir() if not path.name.startswith(".")]
        except OSError as error:
            passed_over.append((here, f"a folder that cannot be read ({error.strerror})"))
            continue
        for path in paths:
            if os.path.isdir(path) and path.is_symlink():  # may lead round in a circle
                passed_over.append((path, "a link to a folder; audit that folder itself"))
            elif os.path.isdir(path):
                waiting.append(path)
            elif path.suffix.lower() in SUFFIXES:
                files.append(path)
    return files, passed_over


def _compared(split: SplitList, reference: Reference) -> SplitList:
    """Look a list's images up in VOC's own lists."""
    ids = set(split.ids)
    parts = (reference.train, reference.train_aug - reference.train, reference.val)
    fine, sbd, val = (len(ids & part) for part in parts)
    unknown = tally(filter(ids.difference(*parts).__contains__, split.ids))
    return replace(split, fine=fine, sbd=sbd, val=val, unknown=unknown)


def _pairs(splits: list[SplitList]) -> list[Pair]:
    """Pair labelled and unlabelled lists of one setting: of one name but for that word, or the only two of a folder."""
    groups = defaultdict(lambda: defaultdict(list))
    for split in splits:
        path = PurePosixPath(split.name)
        for key in ((path.parent, LABEL.sub("", path.stem.lower())), (path.parent, None)):
            groups[key][split.role].append(split)
    pairs = {}
    for (_, setting), group in groups.items():
        belonging = list(product(group["labelled"], group["unlabelled"]))
        if setting is None and len(belonging) > 1:  # a folder of several settings does not say what belongs together
            continue
        for labelled, unlabelled in belonging:
            overlap = tally(filter(set(unlabelled.ids).__contains__, labelled.ids))
            whole = overlap.count == len(labelled.ids)
            pairs[labelled.name, unlabelled.name] = Pair(labelled.name, unlabelled.name, overlap, whole)
    return list(pairs.values())


def _leaks(splits: list[SplitList], pairs: list[Pair], reference: Reference | None) -> Iterator[Finding]:
    """Find images on both sides of a line that a result depends on."""
    usual = "trained on with and without their labels"
    whole = "the whole labelled list; not every method wants that, say so when you quote a result"
    for pair in pairs:
        if pair.overlap.count:
            shared = f"{pair.labelled} and {pair.unlabelled} share {pair.overlap.of('image')}"
            yield Finding("leak", (pair.labelled, pair.unlabelled), f"{shared}: {whole if pair.whole else usual}")
    own = frozenset(image_id for split in splits if split.role == "val" for image_id in split.ids)
    train, val, source = frozenset(), own, "the val lists beside it"
    if reference:
        train, val, source = reference.train_aug, reference.val, "VOC's val"
    for split in splits:
        scored = split.role == "val"
        held = tally(filter((train if scored else val).__contains__, split.ids))
        if held.count and (scored or _trained_on(split, train)):
            text = f"{split.name} holds {held.of('image')} of {'train_aug' if scored else source}: scored on what was trained on"
            yield Finding("leak", (split.name,), text)


def _trained_on(split: SplitList, train: frozenset[str]) -> bool:
    """Say whether a list is for training, by its name or by what it holds; names like trainval say that it is not."""
    stem = PurePosixPath(split.name.lower()).stem
    if split.role == "other" and ("val" in stem or "test" in stem):
        return False
    return split.role != "other" or "train" in stem or not train.isdisjoint(split.ids)


def _faults(splits: list[SplitList]) -> Iterator[Finding]:
    """Find what is wrong within one list."""
    for split in splits:
        unknown = split.unknown or Tally(0, None)
        foreign = unknown.count == len(split.ids)  # another data set's list, with its own rules for names of masks
        strange = "in none of train, train_aug and val" + ("; a list of another data set?" if foreign else "")
        for kind, found, noun, meaning in (
            ("wrong mask", Tally(0, None) if foreign else split.mismatched, "line", "with the mask of another image"),
            ("unknown", unknown, "image", strange),
            ("duplicate", split.duplicates, "line", "with an image named before"),
            ("odd line", split.odd, "line", "without an image id"),
        ):
            if found.count:
                yield Finding(kind, (split.name,), f"{split.name}: {found.of(noun)} {meaning}")


def _qualities(splits: list[SplitList], reference: Reference | None) -> Iterator[Finding]:
    """Find lists whose name and size hide what their labels, or a score on them, are worth."""
    sizes = reference and (len(reference.train), len(reference.train_aug), len(reference.val))
    if sizes != VOC_SIZES:
        text = "without VOC's own lists nothing tells which images are finely labelled, SBD's, in val or unknown"
        if reference:
            text = f"compared with {sizes} images of train, train_aug and val, where VOC has {VOC_SIZES}: others are called unknown"
        yield Finding("reference", (), text)
    if reference is None:
        return
    by_size = defaultdict(list)
    for split in splits:
        images = counted(len(split.ids), "image")
        if split.role == "labelled" and split.unknown.count < len(split.ids):
            by_size[images].append(split)
            if (other := _other_share(split, reference)) is not None:
                text = f"{split.name}: {images}, {split.share:.0f} % finely labelled; a list of the same size may hold {other} %: name the source when you quote a result"
                yield Finding("quality", (split.name,), text)
        elif split.role == "val" and 0 < split.val < len(reference.val):
            text = f"{split.name}: {split.val:,} of the {len(reference.val):,} images of val; a score on it is not one on val"
            yield Finding("quality", (split.name,), text)
    for images, group in by_size.items():
        worst, best = (choose(group, key=lambda split: split.fine) for choose in (min, max))
        if best.share - worst.share > 5:
            text = f"{worst.name} and {best.name} both hold {images}, but {worst.share:.0f} % and {best.share:.0f} % finely labelled: results on them do not compare"
            yield Finding("quality", (worst.name, best.name), text)


def _other_share(split: SplitList, reference: Reference) -> int | None:
    """Return the share in % that another list of this size may hold: the most there can be, or a draw's from train_aug."""
    size, fine, everything = len(split.ids), len(reference.train), len(reference.train_aug)
    most = round(100 * min(1, fine / size))
    if round(split.share) < most:
        return most
    part_of_everything = any(abs(size - everything / parts) <= 1 for parts in PARTS)
    return round(100 * fine / everything) if part_of_everything else None


# ---------------------------------------------------------------- what is shown


def as_frame(report: SplitsReport) -> pd.DataFrame:
    """Return one row per list; what only VOC's own lists can tell is "unknown" without them."""
    rows = []
    for split in report.lists:
        row = {
            "List": split.name,
            "Role": split.role,
            "Images": len(split.ids),
            "Duplicates": split.duplicates.count,
            "Finely labelled": split.fine,
            "Finely labelled (%)": split.share and round(split.share, 1),
            "Only in SBD": split.sbd,
            "In val": split.val,
            "Not in VOC": split.unknown and split.unknown.count,
            "First not in VOC": split.unknown and (split.unknown.first or ""),
            "Masks": ", ".join(f"{folder} {count:,}" for folder, count in split.mask_folders.items()),
        }
        rows.append({title: "unknown" if value is None else value for title, value in row.items()})
    return pd.DataFrame(rows)


def as_json(report: SplitsReport) -> dict[str, Any]:
    """Return the report as JSON-ready values: the number of ids in place of all ids, null for what nothing tells."""
    values = asdict(report)
    for split in values["lists"]:
        split["ids"] = len(split["ids"])
    return {**values, "passed_over": dict(report.passed_over)}


def lines(report: SplitsReport) -> list[str]:
    """Return what stands under the table: how much was read, the findings, what was passed over."""
    apart = sum(pair.overlap.count == 0 for pair in report.pairs)
    return [
        f"{counted(len(report.lists), 'list')} below {report.folder}; {apart} of {counted(len(report.pairs), 'pair')} of a labelled and an unlabelled list share no image",
        *(f"{finding.kind}: {finding.text}" for finding in report.findings),
        *(f"passed over: {name}: {reason}" for name, reason in report.passed_over),
    ]
