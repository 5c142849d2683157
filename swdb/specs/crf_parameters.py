"""Which parameters a dense CRF runs with: the sets in use around DeepLab and weak labels, each with its source.

in: a set's name -> out: its widths and weights. `nn/dense_crf.py` computes with them.
"""

from dataclasses import dataclass, replace

from swdb.core.errors import unknown


@dataclass(frozen=True, slots=True)
class CrfSet:
    """Two Gaussian kernels and a number of mean-field iterations.

    The bilateral kernel sees place and colour, the gaussian one place alone; widths are standard deviations.
    """

    bilateral_weight: float
    bilateral_xy: float  # pixels
    bilateral_rgb: float  # grey levels, 0..255
    gaussian_weight: float
    gaussian_xy: float  # pixels
    iterations: int = 10
    source: str = ""

    def scaled(self, factor: float) -> "CrfSet":
        """Return the set for images whose sides are `factor` times as long: widths in pixels shrink, colours stay."""
        return replace(self, bilateral_xy=self.bilateral_xy * factor, gaussian_xy=self.gaussian_xy * factor)


CRF_SETS = {
    "deeplab-largefov-deploy": CrfSet(5, 50, 10, 3, 3, source="DeepLab-LargeFOV, test.prototxt: the default there"),
    "deeplab-vgg16-run-densecrf": CrfSet(4, 49, 5, 3, 3, source="DeepLab v1 and v2 with VGG16, run_densecrf.sh"),
    "deeplab-v1-pytorch": CrfSet(5, 140, 5, 3, 3, source="wangleihitcs/DeepLab-V1-PyTorch, for 67.6 to 69.6 on val"),
    "deeplab-v2-resnet101": CrfSet(4, 67, 3, 3, 1, source="kazuto1011/deeplab-pytorch, configs/voc12.yaml"),
    "dsrg": CrfSet(10, 80, 13, 3, 3, source="SEC and DSRG; in training, at 41 x 41 points, xy is a twelfth"),
    "irn-labels": CrfSet(10, 50, 5, 3, 3, source="jiwoon-ahn/irn, misc/imutils.py: labels from class activation maps"),
}


def crf_set(name: str) -> CrfSet:
    """Return a set by its name; raises BadInput with the name that was probably meant."""
    if name not in CRF_SETS:
        raise unknown("CRF parameters", name, CRF_SETS)
    return CRF_SETS[name]
