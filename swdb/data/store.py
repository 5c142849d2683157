"""The decoded store: all training images and masks as uint8 on one canvas size, memory-mapped or on the GPU.

Decoding once is what makes training need no worker processes. Only training images are ever in it.

in: a data set's train_aug list -> out: `<data>/store/{images,masks,sizes}.npy`; batches of (B, S, S, 3) and (B, S, S) uint8
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import digest, sweep_temporary, write_atomic
from swdb.core.lease import leased
from swdb.core.parallel import in_order
from swdb.core.progress import Advance, Progress, silent
from swdb.data.dataset import DataSet
from swdb.data.decoded import new_array, open_arrays, record_arrays
from swdb.data.facts import ALL_SPLIT
from swdb.data.images import check_sizes, masks_digest, read_mask, resize_longest_side, size_text
from swdb.data.resident import resident, sent
from swdb.data.voc import IGNORE

ARRAYS = ("images.npy", "masks.npy", "sizes.npy")
MASKS = "masks.npy"  # of a set of proxies


@dataclass(frozen=True)
class Store:
    """Decoded images with one mask each; `sizes` (N, 2) int64 is the height and width inside the canvas."""

    ids: list[str]
    images: np.ndarray | Tensor  # (N, S, S, 3) uint8 RGB
    masks: np.ndarray | Tensor | None  # (N, S, S) uint8; None where nobody may look at them
    sizes: Tensor  # (N, 2) int64

    @property
    def images_only(self) -> "Store":
        """The same images without their true masks: all that cues and proxies are made from."""
        return replace(self, masks=None)

    def to(self, device: torch.device) -> "Store":
        """Move to the GPU where it fits there; otherwise batches travel one by one."""
        if device.type != "cuda":
            return self
        images, *masks = resident((self.images,) if self.masks is None else (self.images, self.masks), device)
        return replace(self, images=images, masks=masks[0] if masks else None)


def gather(array: np.ndarray | Tensor, index: np.ndarray, device: torch.device) -> Tensor:
    """Take rows of a store's array to the device."""
    if isinstance(array, Tensor):
        return array.index_select(0, sent(torch.from_numpy(index), array.device))
    return sent(torch.from_numpy(array[index]), device)


def drawn_rows(name: str, array: np.ndarray | Tensor, rows: np.ndarray) -> dict[str, Tensor]:
    """Take the rows of a step from an array on the host, by name; of one on the GPU `taken_rows` takes them there."""
    return {} if isinstance(array, Tensor) else {name: torch.from_numpy(array[rows])}


def taken_rows(name: str, array: np.ndarray | Tensor, drawn: dict[str, Tensor]) -> Tensor:
    """Return the rows of a step: those that the host drew, or those that `drawn["rows"]` says from an array on the GPU."""
    return array.index_select(0, drawn["rows"]) if isinstance(array, Tensor) else drawn[name]


def training_store(dataset: DataSet, longest_side: int, advance: Advance) -> Store:
    """Open the store of the training images with their true masks, decoding and shrinking them first where needed."""
    ids = dataset.ids(ALL_SPLIT)
    size = longest_side or dataset.settings.image_size
    folder = dataset.root / (f"store-{size}" if longest_side else "store")

    def decode(image_id: str) -> tuple[np.ndarray, np.ndarray]:
        image, mask = dataset.image(image_id), dataset.mask(image_id, ALL_SPLIT)
        mask_path = dataset.mask_path(image_id, ALL_SPLIT)
        check_sizes(dataset.settings.image_size, dataset.image_path(image_id), image, mask_path, mask)
        return resize_longest_side(image, longest_side), resize_longest_side(mask, longest_side)

    record, of = folder / "store.json", {"images": len(ids), "canvas": size, "ids": digest(ids)}
    arrays = open_arrays(record, of, ARRAYS)
    if arrays is None:
        with leased(folder, "decoding images"):
            arrays = open_arrays(record, of, ARRAYS)  # whoever held the lease may have decoded them meanwhile
            if arrays is None:
                sweep_temporary(folder)
                _decode_all(folder, ids, size, decode, advance)
                arrays = record_arrays(record, of, ARRAYS)
    images, masks, sizes = arrays
    return Store(ids, images, masks, torch.from_numpy(np.array(sizes)))


def proxy_masks(proxies: Artefact, dataset: DataSet, store: Store, progress: Progress = silent) -> np.ndarray:
    """Open a set's proxy masks of the store's images, (N, S, S) uint8, decoding its PNGs first where needed.

    Raises MissingArtefact where the PNGs are not those that were recorded when they were made.
    """
    path, record = proxies.folder / MASKS, proxies.folder / "masks.json"
    of = {"canvas": store.images.shape[1], "ids": digest(store.ids), "masks": proxies.digest()}
    arrays = open_arrays(record, of, [MASKS])
    if arrays is None:
        with leased(path, "decoding masks"):
            arrays = open_arrays(record, of, [MASKS])  # whoever held the lease may have decoded them meanwhile
            if arrays is None:
                sweep_temporary(path.parent, path.stem)  # the report on their quality may be written just now
                if masks_digest(proxies.folder) != proxies.digest():
                    raise MissingArtefact(proxies.folder, "its masks are not those that were made")
                _decode_proxies(path, dataset, store, progress("decode the proxy masks", len(store.ids)))
                arrays = record_arrays(record, of, [MASKS])
    return arrays[0]


def _decode_proxies(path: Path, dataset: DataSet, store: Store, advance: Advance) -> None:
    size, sizes = store.images.shape[1], store.sizes.tolist()

    def decode(k: int) -> np.ndarray:
        png = path.parent / f"{store.ids[k]}.png"
        mask = resize_longest_side(read_mask(png, dataset.num_classes), size)
        if list(mask.shape) != sizes[k]:
            height, width = sizes[k]
            raise BadInput(png, f"is {size_text(mask)}", f"{width}x{height}, as its image")
        return mask

    with new_array(path, (len(store.ids), size, size), IGNORE) as masks:

        def fill(k: int) -> None:
            mask = decode(k)
            masks[k, : mask.shape[0], : mask.shape[1]] = mask

        for k, _ in enumerate(in_order(fill, range(len(store.ids)))):
            advance(k + 1, len(store.ids))


def _decode_all(folder: Path, ids: list[str], size: int, decode: Callable, advance: Advance) -> None:
    sizes = np.zeros((len(ids), 2), np.int64)
    with (
        new_array(folder / "images.npy", (len(ids), size, size, 3), 0) as images,
        new_array(folder / "masks.npy", (len(ids), size, size), IGNORE) as masks,
    ):

        def fill(k: int) -> None:  # in the thread that decoded: to copy takes as long as to decode
            image, mask = decode(ids[k])
            height, width = mask.shape
            images[k, :height, :width], masks[k, :height, :width], sizes[k] = image, mask, mask.shape

        for k, _ in enumerate(in_order(fill, range(len(ids)))):
            advance(k + 1, len(ids))
    write_atomic(folder / "sizes.npy", lambda stream: np.save(stream, sizes))
