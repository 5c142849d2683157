"""Which code this is: any change of any file of the package is another one."""

import shutil
from importlib.metadata import PackageNotFoundError, version

import pytest

from swdb.core import identity
from swdb.core.errors import BadInput
from swdb.core.identity import PACKAGE, Code, package_digest, torch_version


def test_the_same_files_in_another_folder_are_the_same_code(tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    assert package_digest(copy) == package_digest()
    assert len(package_digest()) == 64


@pytest.mark.parametrize("name", ["core/stage.py", "presets/voc.toml"])
def test_another_byte_is_other_code(name, tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "copy")
    changed = copy / name if (copy / name).exists() else next(copy.rglob("*.toml"))
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert package_digest(copy) != package_digest()


def test_what_python_compiles_is_no_code(tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "copy")
    (copy / "core" / "__pycache__").mkdir(exist_ok=True)
    (copy / "core" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert package_digest(copy) == package_digest()


def test_torch_has_the_version_that_is_installed(monkeypatch):
    assert torch_version() == version("torch")

    def nowhere(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(identity, "version", nowhere)
    assert torch_version() == ""


def test_the_code_that_is_here_passes():
    Code.here().check()


@pytest.mark.parametrize(
    ("code", "subject", "found"),
    [
        (Code("0" * 64, torch_version()), "the installed package", "the code has changed since the job was submitted"),
        (Code(package_digest(), "1.0"), "torch", f"{torch_version()} in the job, 1.0 where it was submitted"),
    ],
)
def test_other_code_and_another_torch_are_refused(code, subject, found):
    with pytest.raises(BadInput) as caught:
        code.check()
    assert caught.value.subject == subject and caught.value.found.startswith(found)
