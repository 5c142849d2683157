"""A network ready to look at images: with the preprocessing that its weights belong with, on a device, in a precision.

in: images (B, H, W, 3) uint8 RGB -> out: what the network says of them
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from swdb.nn.compute import Compute
from swdb.nn.networks import Preprocessing
from swdb.nn.sampling import normalise, to_inputs


@dataclass(frozen=True)
class Model:
    """A network, how images become its inputs, and where it computes."""

    network: nn.Module
    preprocessing: Preprocessing
    compute: Compute

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the network on inputs (B, 3, H, W) float, in the model's precision."""
        with self.compute.autocast():
            return self.network(self.compute.inputs(inputs))

    def inputs(self, images: Tensor) -> Tensor:
        """Turn whole images (B, H, W, 3) uint8 into inputs (B, 3, H, W) float on the device."""
        return to_inputs(images.to(self.compute.device), self.preprocessing)

    def normalise(self, images: Tensor) -> Tensor:
        """Turn images (B, 3, H, W) float of 0..255 into inputs."""
        return normalise(images, self.preprocessing)


def averaged(look: Callable[[float, bool], Tensor], scales: tuple[float, ...], flip: bool) -> Tensor:
    """Return the mean of what `look` sees at every scale, from the smallest, and there mirrored as well where `flip` says so."""
    views = [(scale, mirrored) for scale in sorted(scales) for mirrored in ((False, True) if flip else (False,))]
    return sum(look(*view) for view in views) / len(views)
