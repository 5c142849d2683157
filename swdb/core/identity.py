"""Which code this is: what a job notes when it is submitted, and refuses to differ from when it begins.

in: nothing -> out: one sha256 over the package's files; the version of torch, which is not loaded for that
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from swdb.core.errors import BadInput
from swdb.core.files import file_digest, tree_root

PACKAGE = Path(__file__).parents[1]


def package_digest(folder: Path = PACKAGE) -> str:
    """Return one sha256 over the files of the package, whatever folder it is in."""
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return tree_root({path.relative_to(folder): file_digest(path) for path in files})


def torch_version() -> str:
    """Return the version of torch that would be loaded; empty where none is installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class Code:
    """What a job must find as it was when it was submitted."""

    package: str
    torch: str

    @staticmethod
    def here() -> "Code":
        """Return what is here."""
        return Code(package_digest(), torch_version())

    def check(self) -> None:
        """Raise BadInput where this is other code, or another torch, than was submitted."""
        here = Code.here()
        if here.package != self.package:
            found = f"the code has changed since the job was submitted: it was {self.package[:10]}, it is {here.package[:10]}"
            raise BadInput("the installed package", found, "the code of then, or a new submission")
        if here.torch != self.torch:
            raise BadInput("torch", f"{here.torch} in the job, {self.torch} where it was submitted", "one version")
