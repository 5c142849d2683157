"""What other projects' list files really hold: label quality, leaks, ids that VOC does not have. No torch.

Semi-supervised projects ship lists such as `1_8/labeled.txt`. Lists of one name and size differ in how many of their
images are finely labelled (VOC's own masks) or only from SBD, and images leak between the lists of one setting.

in: a folder of `.txt` and `.lst` files, VOC's own lists -> out: a `SplitsReport`, its table, its findings in sentences
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from swdb.core.errors import BadInput

SUFFIXES = (".txt", ".lst")
LARGEST = 16 * 2**20  # bytes; the longest list of VOC ids with paths has less than one MiB
MOST_LINES = 1_000_000  # sixteen MiB of one-letter lines would take two GiB of memory
VOC_SIZES = (1464, 10582, 1449)  # train, train_aug, val
PARTS = (2, 4, 8, 16, 32)  # "1/8" of train_aug: the sizes under which lists of different quality are quoted
SEVERITY = ("leak", "wrong mask", "unknown", "duplicate", "odd line", "quality", "reference")

IMAGE_SUFFIX = re.compile(r"\.(?:jpe?g|png|bmp|gif|tiff?|webp|npy)$", re.IGNORECASE)
IDENTIFIER = re.compile(r"(?=.*\d)[\w-]+")  # without a digit it is a word of somebody's prose
HEADER = re.compile(r"[A-Za-z_]+(?:[\t,;] *[A-Za-z_]+)+")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
# `labeled`, `un_labelled`, `sup`, `unsupervised`; the `supervised` of `semi-supervised` names a method, not a list
LABEL = re.compile(r"(?<![a-z])(?<!semi[-_])(un[-_]?)?(?:label(?:l?ed|s)?|sup(?:ervised)?)(?![a-z])")
VALIDATION = re.compile(r"(?<![a-z])val(?:id(?:ation)?)?(?![a-z])")


@dataclass(frozen=True)
class Reference:
    """VOC's own lists."""

    train: frozenset[str]  # 1,464 finely labelled images
    train_aug: frozenset[str]  # 10,582: these and the 9,118 that SBD adds
    val: frozenset[str]  # 1,449


@dataclass(frozen=True)
class Tally:
    """How many there are, and the first of them."""

    count: int
    first: str | None

    def of(self, noun: str) -> str:
        """Say so: `3 images (first: 2007_000032)`."""
        return f"{_counted(self.count, noun)} (first: {self.first})"


@dataclass(frozen=True)
class SplitList:
    """One list file, and where its images are in VOC: None where no reference says so."""

    name: str  # path relative to the folder that is audited
    role: str  # labelled, unlabelled, val or other: what the name says
    ids: tuple[str, ...]  # each once, in the file's order
    duplicates: Tally  # lines that repeat an id
    mismatched: Tally  # lines that give an image the mask of another one
    odd: Tally  # lines that hold no id
    mask_folders: dict[str, int]  # number of lines by the folder that holds their mask
    fine: int | None = None  # images in train
    sbd: int | None = None  # in train_aug only
    val: int | None = None
    unknown: Tally | None = None  # in none of the three

    @property
    def share(self) -> float | None:
        """Finely labelled images in %."""
        return None if self.fine is None else 100 * self.fine / len(self.ids)


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


def read_list(path: Path, root: Path) -> SplitList | str:
    """Read one list file; return why it is none where it is none.

    A line is an id, an id with numbers behind it, or an image and its mask, parted by blanks, a tab, a comma or a
    semicolon. An id is a file name without folder and image suffix. Blank lines and lines that begin with # are skipped.
    """
    try:
        if not path.is_file():  # opening a pipe would wait for its writer for ever
            return "no regular file, or a broken link"
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if len(content) > LARGEST:
        return f"larger than {LARGEST // 2**20} MiB"
    if content.count(b"\n") > MOST_LINES:
        return f"more than {MOST_LINES:,} lines"
    if b"\0" in content:
        return "a binary file"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "not UTF-8 text"
    written = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not written:
        return "empty"
    if HEADER.fullmatch(written[0]):
        return f"a table with a header ({_printable(written[0][:60])})"
    entries = [(line, _entry(line)) for line in written]
    odd = [line for line, entry in entries if entry is None]
    if 2 * len(odd) > len(entries):  # a stray id in somebody's prose makes no list
        return f"{len(entries) - len(odd)} of {_counted(len(entries), 'line')} with an image id"
    found = [(line, *entry) for line, entry in entries if entry]
    times = Counter(image_id for _, image_id, _ in found)
    name = _printable(path.relative_to(root).as_posix())
    return SplitList(
        name=name,
        role=_role(name),
        ids=tuple(times),
        duplicates=_tally(image_id for image_id, number in times.items() for _ in range(number - 1)),
        mismatched=_tally(line for line, image_id, mask in found if mask and mask[1] != image_id),
        odd=_tally(odd),
        mask_folders=dict(Counter(mask[0] or "(none)" for _, _, mask in found if mask)),
    )


def _printable(text: str) -> str:
    """Return text that can be printed on one line, whatever bytes a file's name or a line is made of."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _identifier(field: str) -> tuple[str, str] | None:
    """Return folder and id of a path; None for what is no id."""
    folders, _, name = field.replace("\\", "/").rpartition("/")
    image_id = IMAGE_SUFFIX.sub("", name)
    return (folders.rpartition("/")[2], image_id) if IDENTIFIER.fullmatch(image_id) else None


def _entry(line: str) -> tuple[str, tuple[str, str] | None] | None:
    """Return a line's id, and folder and id of its mask where it names one; None for a line that is no entry."""
    separator = next(filter(line.__contains__, "\t,;"), None)  # without any: blanks, which paths may hold
    fields = [stripped for field in line.split(separator) if (stripped := field.strip(' "'))]
    image = _identifier(fields[0]) if fields else None
    if image is None:
        return None
    if all(NUMBER.fullmatch(field) for field in fields[1:]):
        return image[1], None
    mask = _identifier(fields[1]) if len(fields) == 2 else None
    return (image[1], mask) if mask else None


def _tally(found: Iterable[str]) -> Tally:
    found = list(found)
    return Tally(len(found), _printable(found[0][:80]) if found else None)


def _role(name: str) -> str:
    """Say what a list is for, by the words in the file's name."""
    stem = PurePosixPath(name.lower()).stem
    if VALIDATION.search(stem) and "train" not in stem:
        return "val"
    label = LABEL.search(stem)
    return "other" if label is None else "unlabelled" if label[1] else "labelled"


def audit_splits(folder: Path, reference: Reference | None, mend: str) -> SplitsReport:
    """Read all lists below a folder and compare them with each other and with VOC's own.

    Without a reference what needs it stays None, and one finding names the command `mend` that provides it.
    Links to folders are named, not followed; hidden files are ignored. Raises BadInput where there is no list.
    """
    if not os.path.isdir(folder):
        found = "is a file" if os.path.exists(folder) else "does not exist"
        raise BadInput(f"{folder} {found}; expected a folder with list files: name it with --audit-splits DIR")
    files, passed_over = _files(folder)
    splits = []
    for path in files:
        split = read_list(path, folder)
        if isinstance(split, str):
            passed_over.append((path, split))
        else:
            splits.append(split if reference is None else _compared(split, reference))
    reasons = sorted((_printable(path.relative_to(folder).as_posix()), reason) for path, reason in passed_over)
    if not splits:
        seen = "; ".join(f"passed over {name}: {reason}" for name, reason in reasons[:3]) or "no .txt or .lst file"
        raise BadInput(
            f"no list below {folder} ({seen}); expected files such as 1_8/labeled.txt, with an image id or an image and its mask on every line; name another folder with --audit-splits DIR"
        )
    splits.sort(key=lambda split: split.name)
    pairs = _pairs(splits)
    findings = [*_leaks(splits, pairs, reference), *_faults(splits), *_qualities(splits, reference, mend)]
    findings.sort(key=lambda finding: (SEVERITY.index(finding.kind), finding.lists))
    return SplitsReport(_printable(str(folder)), tuple(splits), tuple(pairs), tuple(findings), tuple(reasons))


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
    unknown = _tally(filter(ids.difference(*parts).__contains__, split.ids))
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
            overlap = _tally(filter(set(unlabelled.ids).__contains__, labelled.ids))
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
        held = _tally(filter((train if scored else val).__contains__, split.ids))
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
        for kind, tally, noun, meaning in (
            ("wrong mask", Tally(0, None) if foreign else split.mismatched, "line", "with the mask of another image"),
            ("unknown", unknown, "image", strange),
            ("duplicate", split.duplicates, "line", "with an image named before"),
            ("odd line", split.odd, "line", "without an image id"),
        ):
            if tally.count:
                yield Finding(kind, (split.name,), f"{split.name}: {tally.of(noun)} {meaning}")


def _qualities(splits: list[SplitList], reference: Reference | None, mend: str) -> Iterator[Finding]:
    """Find lists whose name and size hide what their labels, or a score on them, are worth."""
    sizes = reference and (len(reference.train), len(reference.train_aug), len(reference.val))
    if sizes != VOC_SIZES:
        text = "without VOC's own lists nothing tells which images are finely labelled, SBD's, in val or unknown"
        if reference:
            text = f"compared with {sizes} images of train, train_aug and val, where VOC has {VOC_SIZES}: others are called unknown"
        yield Finding("reference", (), f"{text}; run: {mend}")
    if reference is None:
        return
    by_size = defaultdict(list)
    for split in splits:
        images = _counted(len(split.ids), "image")
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


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


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
        f"{_counted(len(report.lists), 'list')} below {report.folder}; {apart} of {_counted(len(report.pairs), 'pair')} of a labelled and an unlabelled list share no image",
        *(f"{finding.kind}: {finding.text}" for finding in report.findings),
        *(f"passed over: {name}: {reason}" for name, reason in report.passed_over),
    ]
