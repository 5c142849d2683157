"""Files of weights as people have them: told by their contents, opened without running anything in them.

in: a .pth, .npz or .safetensors -> out: tensors by name, all finite; or one error that says what was found instead
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from swdb.core.errors import BadInput, MissingArtefact, reason
from swdb.specs.preprocessing import Preprocessing

EXPECTED = "a .pth of plain tensors, as torch.save(network.state_dict(), ...) writes, a .npz or a .safetensors"
WRAPPERS = (  # under which a checkpoint keeps its tensors
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "backbone", "weights", "params",
)  # fmt: skip
FOREIGN = {  # how other files begin
    b"": "an empty file",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "one array or pickled objects (.npy)",
    b"MATLAB": "a MATLAB file",
    b"version https://git-lfs": "a Git LFS pointer in place of the file",
    b"\x1f\x8b": "a gzipped file",
    b"<": "a web page or XML",
    b"{": "JSON",
}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
OBJECT = re.compile(r"GLOBAL ([\w.]+)")  # in torch's words about a pickle that is more than tensors


def read_weights_file(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name, as they are named in it; its contents decide what it is, not its suffix.

    Raises MissingArtefact where there is none, BadInput for what is no file of plain tensors, or not finite.
    """
    where = f"--weights {path}"
    if not path.is_file():
        raise MissingArtefact(where, "no such file", EXPECTED)
    with path.open("rb") as stream:
        start = stream.read(64)
    if zipfile.is_zipfile(path):
        tensors = _from_zip(path, where)
    elif start[8:9] == b"{" and 0 < int.from_bytes(start[:8], "little") < path.stat().st_size:
        tensors = _from_safetensors(path, where)
    else:
        for beginning, what in FOREIGN.items():
            if start.startswith(beginning) and (beginning or not start):
                raise BadInput(where, what, EXPECTED)
        tensors = _from_torch(path, where)
    check_finite(tensors, where)
    return tensors


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse tensors with a value that is not finite in float32, in which networks are kept; names the first of them.

    Before any of their values is looked at: tensors that are no plain ones, or that claim more values than there are.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided:
            raise BadInput(where, f"tensor {name!r} is {'without values' if tensor.is_meta else 'sparse'}", EXPECTED)
        if tensor.is_floating_point() and tensor.dtype not in FLOATS:
            raise BadInput(where, f"tensor {name!r} is of type {str(tensor.dtype).removeprefix('torch.')}", EXPECTED)
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise BadInput(where, f"tensor {name!r} claims {tensor.numel():,} values and has fewer", EXPECTED)
    bad = {
        name: int((~torch.isfinite(tensor.float())).sum())
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }
    bad = {name: count for name, count in bad.items() if count}
    if bad:
        name, count = next(iter(bad.items()))
        more = f" (and in {len(bad) - 1} other tensors)" if len(bad) > 1 else ""
        found = f"tensor {name!r} has {count} values of {tensors[name].numel()} that are NaN or infinite{more}"
        raise BadInput(where, found, "finite numbers: the file was damaged, or written by a training that diverged")


def first_answer(weight: Tensor, preprocessing: Preprocessing) -> float:
    """Return how far the answers of a first layer (O, 3, k, k) spread over natural images, in its own units.

    Their pixels have a standard deviation of about 58, and are much like their neighbours and their other channels.
    ImageNet's networks answer with 1 to 100, whether they want pixels of 0..255 or scaled ones, and so tell no more
    than this: weights for 0..255 into which a scale was folded answer scaled pixels with next to nothing.
    """
    size = weight.shape[-1]
    at = torch.cartesian_prod(torch.arange(size), torch.arange(size)).double()
    near = 0.95 ** torch.cdist(at, at)
    colours = torch.full((3, 3), 0.9, dtype=torch.double) + 0.1 * torch.eye(3, dtype=torch.double)
    scaled = weight.double() * (58 / torch.tensor(preprocessing.std, dtype=torch.double))[None, :, None, None]
    flat = scaled.flatten(1)
    variances = ((flat @ torch.kron(colours, near)) * flat).sum(1)
    return float(variances.clamp(min=0).mean().sqrt())


def named(tensors: Mapping[str, Tensor]) -> str:
    """Show the first tensors by name and shape, for people."""
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:3]]
    return ", ".join(shown) + (", ..." if len(tensors) > 3 else "")


# ---------------------------------------------------------------- one kind of file each


def _from_zip(path: Path, where: str) -> dict[str, Tensor]:
    """Read what is packed as a zip: torch's own files and numpy's."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            of_torch = any(member.endswith("data.pkl") for member in members)
            damaged = archive.testzip() if of_torch else None  # torch does not compare checksums, as numpy does
    except Exception as error:  # zipfile has a kind for every way to be broken
        raise _unreadable(where, error) from None
    if damaged is not None:
        raise BadInput(where, f"damaged: {damaged:.100} is not what was written", EXPECTED)
    if len(set(members)) < len(members):
        raise BadInput(where, "a zip archive that holds a file twice", EXPECTED)
    if any(member.endswith("/constants.pkl") for member in members):
        raise BadInput(where, "a TorchScript archive, which is a program", EXPECTED)
    if of_torch:
        return _from_torch(path, where)
    if members and all(member.endswith(".npy") for member in members):
        return _from_npz(path, where)
    inside = ", ".join(members[:3]) + (", ..." if len(members) > 3 else "")
    raise BadInput(where, f"a zip archive of other files ({inside:.200})", EXPECTED)


def _from_npz(path: Path, where: str) -> dict[str, Tensor]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # zipfile, numpy and the file system have a kind each
        raise BadInput(where, f"cannot be read ({reason(error)})", "a .npz of plain arrays") from None
    for name, array in found.items():
        if array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
            raise BadInput(where, f"array {name!r} is of type {array.dtype}", "a .npz of plain arrays of numbers")
    # in the machine's own byte order, which is all that torch knows
    return {name: torch.from_numpy(array.astype(array.dtype.newbyteorder("="))) for name, array in found.items()}


def _from_safetensors(path: Path, where: str) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        found = "a safetensors file, for which the library safetensors is not installed"
        raise BadInput(where, found, "that library, or a .pth or .npz of plain tensors") from None
    try:
        return load_file(path)
    except Exception as error:
        raise _unreadable(where, error) from None


def _from_torch(path: Path, where: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd about a file is said below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds
        if named_object := OBJECT.search(str(error)):
            found = (
                f"holds objects ({named_object[1]}), which only running the file could make: more than plain tensors"
            )
            raise BadInput(where, found, EXPECTED) from None
        found = f"damaged, or more than plain tensors ({type(error).__name__})"
        raise BadInput(where, found, EXPECTED) from None
    return _unwrapped(content, where)


def _unwrapped(content: Any, where: str, depth: int = 0) -> dict[str, Tensor]:
    """Find the tensors in what a file holds: itself, or under one of the names that checkpoints use."""
    if not isinstance(content, Mapping) or not content:
        kind = "nothing" if isinstance(content, Mapping) else f"one {type(content).__name__}"
        raise BadInput(where, f"holds {kind}", f"names and plain tensors: {EXPECTED}")
    if all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): tensor for name, tensor in content.items()}
    wrapped = [name for name in WRAPPERS if isinstance(content.get(name), Mapping)]
    if len(wrapped) > 1:
        found = f"holds two sets of tensors, {wrapped[0]!r} and {wrapped[1]!r}"
        raise BadInput(where, found, "one: save the one that is meant as a file of its own")
    if wrapped:
        names = content[wrapped[0]].keys()
        twins = [
            name
            for name, one in content.items()
            if name not in wrapped and isinstance(one, Mapping) and names & one.keys()
        ]
        if twins:
            found = f"holds two sets of tensors, {wrapped[0]!r} and {twins[0]!r}"
            raise BadInput(where, found, "one: save the one that is meant as a file of its own")
    if wrapped and depth < 3:
        return _unwrapped(content[wrapped[0]], where, depth + 1)
    kinds = [f"{name!s:.40} ({type(value).__name__})" for name, value in list(content.items())[:6]]
    found = f"holds {', '.join(kinds)}{', ...' if len(content) > 6 else ''}"
    raise BadInput(where, found, f"names and plain tensors, alone or under {', '.join(WRAPPERS[:3])}")


def _unreadable(where: str, error: Exception) -> BadInput:
    return BadInput(where, f"cannot be read ({reason(error)})", EXPECTED)
