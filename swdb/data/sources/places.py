"""Which file of a source counts: what names claim to be, and what is done where several claim to be the same.

For every thing that is asked of a source (the image of an id, its mask, its annotation, a list) the documented place wins;
of several files in such a place any will do if they have the same bytes, else the source is refused. So the outcome never
depends on how a source is packed, or on the order in which it is read. What swdb made itself is never taken.

in: the names in a source -> out: one name for each thing, or one error that names two
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from swdb.core.errors import BadInput
from swdb.data.sources.archives import NOT_OWN, OWN, Member, members, own_folders

# What a thing is called, and where it lies, by the end of a member's name: the folders above may be called anything.
LIST, ANNOTATION, IMAGE, OWN_MASK = "list", "annotation", "image", "mask"
SBD_MASK, SBD_LIST = "mask of SBD's", "list of SBD's"
MAT = re.compile(r"(?:^|/)cls/(\w+)(?i:\.mat)$")
CONVERTED = re.compile(r"(?:^|/)SegmentationClassAug/(\w+)(?i:\.png)$")
LOOSE = re.compile(r"(?:^|/)(\d{4}_\d{6})(?i:\.png)$")
Places = Mapping[str, tuple[re.Pattern, ...]]  # by what it is: where it may lie, the first goes before the second

VOC_PLACES: Places = {
    LIST: (re.compile(r"(?:^|/)ImageSets/Segmentation/(train|val|train_aug)\.txt$"),),
    ANNOTATION: (re.compile(r"(?:^|/)Annotations/(\w+)(?i:\.xml)$"),),
    IMAGE: (re.compile(r"(?:^|/)JPEGImages/(\w+)(?i:\.jpe?g)$"),),
    OWN_MASK: (re.compile(r"(?:^|/)SegmentationClass/(\w+)(?i:\.png)$"),),
    SBD_MASK: (CONVERTED,),
}
SBD_PLACES: Places = {
    SBD_MASK: (MAT, CONVERTED, LOOSE),
    SBD_LIST: (re.compile(r"(?:^|/)dataset/(train|val)\.txt$"),),
}
OF_VOC = re.compile(r"(?:^|/)(?:JPEGImages|Annotations|ImageSets|SegmentationObject)/")


class Claim(NamedTuple):
    """What a file claims to be, by its name."""

    what: str
    key: str  # the id of an image, or the name of a list
    rank: int  # of its place, 0 first


class Claims:
    """All claims of one source: complete when its names have been noted once and `close` was called."""

    def __init__(self, source: Path, option: str, places: Places):
        self.source, self.option, self.places = source, option, places
        self._claims: dict[str, Claim] = {}
        self._names: dict[tuple[str, str], dict[str, Claim]] = defaultdict(dict)
        self._times: dict[str, int] = defaultdict(int)
        self._marks: list[str] = []  # names that may mark what swdb made
        self._of_voc = False

    @property
    def where(self) -> str:
        """The source, as an error calls it."""
        return f"{self.option} {self.source}"

    def note(self, name: str) -> Claim | None:
        """Note a member's name; returns what the member claims to be, if anything."""
        if name.endswith((".json", ".csv")):
            self._marks.append(name)
        self._of_voc = self._of_voc or bool(OF_VOC.search(name))
        for what, places in self.places.items():
            for rank, pattern in enumerate(places):
                if match := pattern.search(name):
                    claim = Claim(what, match[1], rank)
                    self._claims[name] = self._names[what, claim.key][name] = claim
                    self._times[name] += 1
                    return claim
        return None

    def close(self, names_alone: bool = False) -> None:
        """Keep, of all claims, those that count; raises BadInput where the source is a packed data set of swdb's.

        That does not matter where nobody asks for more than names and lists. What swdb made within a source is none, nor are PNGs of any folder where the source holds VOC itself or SBD's masks in their place.
        """
        made = own_folders(self._marks)
        if "" in made and not names_alone:
            raise BadInput(self.where, OWN, NOT_OWN)
        made.discard("")
        by_claim = {key: _outside(made, names) for key, names in self._names.items()}
        in_place = any(
            what == SBD_MASK and not self._is_loose(claim)
            for (what, _), names in by_claim.items()
            for claim in names.values()
        )
        self._names.clear()
        for key, names in by_claim.items():
            if self._of_voc or in_place:
                names = {name: claim for name, claim in names.items() if not self._is_loose(claim)}
            first = min((claim.rank for claim in names.values()), default=0)
            if names:
                self._names[key] = {name: claim for name, claim in sorted(names.items()) if claim.rank == first}

    def _is_loose(self, claim: Claim) -> bool:
        return self.places[claim.what][claim.rank] is LOOSE

    def keys(self, what: str) -> set[str]:
        """Return the ids of images, or names of lists, that something of the source claims to be `what` of."""
        return {key for of, key in self._names if of == what}

    def claim(self, name: str) -> Claim:
        """Return what a noted member claims to be."""
        return self._claims[name]

    def counts(self, name: str) -> bool:
        """Whether a member is one of those that count."""
        claim = self._claims[name]
        return name in self._names.get((claim.what, claim.key), ())

    def choose(self, asked: Mapping[str, Iterable[str]]) -> dict[str, Claim]:
        """Return the one name that counts for each key of each `what`; raises BadInput where two of them differ.

        Reads the source once more only where several claim to be the same.
        """
        chosen, doubtful = {}, {}
        for what, keys in asked.items():
            for key in keys:
                names = self._names.get((what, key))
                if not names:
                    continue
                name = next(iter(names))  # they are sorted
                chosen[name] = names[name]
                if len(names) > 1 or self._times[name] > 1:
                    doubtful.update(names)
        if doubtful:
            said = [
                (doubtful[member.name], member.name, hashlib.sha256(member.read()).digest())
                for member in members(self.source, doubtful.__contains__, self.option)
            ]
            for claim, names in differing(said):
                raise self.conflict(claim, names)
        return chosen

    def conflict(self, claim: Claim, names: tuple[str, str]) -> BadInput:
        """Return the error for two files that claim to be the same and are not."""
        first, second = names
        two = f"{first} and {second}" if first != second else f"{first}, twice"
        if claim.what in (LIST, SBD_LIST):
            found = f"holds two lists {claim.key}.txt of different images: {two}"
            return BadInput(self.where, found, "one VOC 2012: name its folder itself")
        what = f"the image {claim.key}" if claim.what == IMAGE else f"the {claim.what} of image {claim.key}"
        found = f"holds two files for {what}, and they differ: {two}"
        return BadInput(self.where, found, "one of them")


def _outside(folders: set[str], names: dict[str, Claim]) -> dict[str, Claim]:
    """Return the claims of members that lie in none of the folders."""
    inside = tuple(f"{folder}/" for folder in folders)
    return {name: claim for name, claim in names.items() if not name.startswith(inside)}


def differing(said: Iterable[tuple[Claim, str, Any]]) -> Iterator[tuple[Claim, tuple[str, str]]]:
    """Yield the claims, in a fixed order, of which files say different things, and the names of two that do."""
    by_claim: dict[Claim, list[tuple[str, Any]]] = defaultdict(list)
    for claim, name, content in said:
        by_claim[claim].append((name, content))
    for claim in sorted(by_claim):
        found = sorted(by_claim[claim], key=lambda item: item[0])
        name, content = found[0]
        for other, differs in found[1:]:
            if differs != content:
                yield claim, (name, other)
                break


def read_chosen(claims: Claims, chosen: Mapping[str, Claim]) -> Iterator[tuple[Claim, Member]]:
    """Go once through a source and hand out the chosen members, each once."""
    left = dict(chosen)
    for member in members(claims.source, left.__contains__, claims.option) if left else ():
        yield left.pop(member.name), member
