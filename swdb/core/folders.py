"""Folders that are made beside their place and put there when they are whole; also where the place is a link or a mount.

A user may have put a folder on a bigger disk, behind a link, or as a volume of a container. That cannot be renamed: its
contents are exchanged instead, the record last. Nothing is put in the place of what the program did not make.

in: a folder -> out: where to make it, and then the folder
"""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from swdb.core.errors import DiskRefused, NotOurs, disk_error
from swdb.core.files import remove_folder, set_aside, sweep_aside

# In a folder whose contents are being exchanged: what is there is ours, however little it is. The new record waits under this name.
UNDER_WAY = ".exchange"
# What stands in folders that the program makes; nothing else in them is ever deleted.
ENTRIES = re.compile(
    r"(?:done|done\.begun|manifest|audit|sources|inputs|training|samples|registered|cues|quality|quality\.begun|val|val\.begun|passport|report|curve|masks)\.json"
    r"|(?:weights|checkpoint)\.pt|log\.jsonl|cues\.npz|masks\.npy|image_labels\.csv|(?:quality|passport)\.(?:md|jpg)"
    r"|VOCdevkit|store(?:-\d+)?|parts|pretext|evals|predictions|confusion\.npz|result\.json|[\w-]+\.png"
)


def is_elsewhere(folder: Path) -> bool:
    """Whether a folder is a link or a mount, which cannot be renamed."""
    return folder.is_symlink() or os.path.ismount(folder)


def unfinished(folder: Path) -> Path:
    """Return where a folder is made: beside its place, or inside it where that lies on another disk."""
    return folder / ".partial" if is_elsewhere(folder) else folder.with_name(f".{folder.name}.partial")


def check_place(folder: Path, *proofs: str) -> None:
    """Raise DiskRefused where a folder cannot be put: a link leads nowhere, or something is there that we did not make.

    A folder that is not empty is taken for ours by one of the `proofs`, names of files in it.
    """
    if folder.is_symlink() and not folder.exists():
        raise DiskRefused(folder, f"is a link to {os.readlink(folder)}, which is not there")
    if folder.exists() and not folder.is_dir():
        raise DiskRefused(folder, "cannot be written (a file is there)")
    if not folder.exists():
        return
    known = (folder / UNDER_WAY).exists() or any((folder / name).exists() for name in proofs)
    if others := [path for path in _visible(folder) if not (known and ENTRIES.fullmatch(path.name))]:
        found = f"holds what swdb did not make (first: {others[0].name})"
        raise NotOurs(folder, found, "an empty folder, or one that it made")


def put_in_place(new: Path, folder: Path, record: str) -> None:
    """Put a whole folder in the place of another one; raises DiskRefused, and then the old one is as it was.

    The old one is renamed, then the new one; only then the old one is deleted, as far as the disk lets us.
    """
    try:
        if is_elsewhere(folder):
            _exchange(new, folder, record)
            return
        old = set_aside(folder)
        try:
            os.replace(new, folder)
        except BaseException:
            if old is not None:
                os.replace(old, folder)
            raise
    except OSError as error:
        raise disk_error(error, folder) from error
    with suppress(OSError):
        sweep_aside(folder)


def _exchange(new: Path, folder: Path, record: str) -> None:
    """Let the contents of a folder take the place of another one's; a kill leaves two that are not finished, and ours."""
    if new.stat().st_dev != folder.stat().st_dev:  # seen before anything is deleted
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(folder))
    (folder / UNDER_WAY).touch()
    (folder / record).unlink(missing_ok=True)
    for old in _visible(folder):
        if old.is_dir() and not old.is_symlink():
            remove_folder(old)
        else:
            old.unlink()
    os.replace(new / record, folder / UNDER_WAY)
    for path in sorted(new.iterdir()):
        if path.name != ".leases":
            os.replace(path, folder / path.name)
    os.replace(folder / UNDER_WAY, folder / record)
    remove_folder(new)


def _visible(folder: Path) -> list[Path]:
    """List what is in a folder, but for what its file system and we keep there."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "lost+found")
