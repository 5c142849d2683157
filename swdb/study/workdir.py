"""Opening a work directory: the precision it computes in, and the files that were named to it once.

in: a folder, a preset's name, what was typed -> out: a `Work`, with what the directory remembers
"""

from dataclasses import replace
from pathlib import Path

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import read_json, write_atomic, write_json
from swdb.proxy.saliency import saliency_digest
from swdb.proxy.sec_cues import CUE_LIST
from swdb.specs.presets import load_preset
from swdb.study.plan import Saliency, Work

PRECISIONS = ("fp32", "bf16")
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}  # processors on which bf16 and channels_last train faster than fp32


def open_work(
    folder: Path,
    preset_name: str,
    precision: str | None = None,
    weights_file: Path | None = None,
    cues_file: Path | None = None,
    saliency: Path | None = None,
    remember: bool = True,
) -> Work:
    """Open a work directory at a preset; the precision is chosen once and stays the directory's.

    A file that the preset cannot do without is named once, and kept in `inputs/`; so is the place of saliency maps. Any
    other file is named each time.
    """
    preset = load_preset(preset_name)
    typed = {"preset": preset_name, "precision": precision, "weights": weights_file, "cues": cues_file}
    inputs = folder / "inputs" / preset.name
    if preset.network.weights == "file":
        typed["weights"] = None if remember else weights_file  # no need to name it again
        weights_file = _kept_input(inputs / "weights", weights_file, remember)
    if preset.proxy.cues == "file":
        typed["cues"] = None if remember else cues_file
        cues_file = _kept_input(inputs / "cues", cues_file, remember)
    elif cues_file is not None:
        preset = replace(preset, proxy=replace(preset.proxy, cues="file"))
    if saliency is not None and preset.proxy.cues == "file":
        raise BadInput(
            "--saliency goes with the classifier's cues; cues from a file say themselves where background is"
        )
    maps = _kept_saliency(inputs / "saliency.json", saliency, remember) if preset.proxy.cues == "classifier" else None
    asked = tuple((name, str(value)) for name, value in typed.items() if value is not None)
    precision = precision or _stored_precision(folder, remember)
    return Work(folder, preset, precision, weights_file, cues_file, maps, asked)


def _kept_input(place: Path, named: Path | None, remember: bool) -> Path | None:
    """Keep a file that was named, with the list that goes with cues, for later commands; return it or the one kept."""
    if named is None:
        return next((path for path in sorted(place.glob("[!.]*")) if path.name != CUE_LIST), None)
    if named.is_file() and remember:
        companions = [named.with_name(CUE_LIST)] if named.with_name(CUE_LIST).is_file() else []
        for path in (named, *companions):
            write_atomic(place / path.name, lambda stream, path=path: stream.write(path.read_bytes()))
        # What is kept may have been named itself: only what was not is deleted, and last.
        for old in set(place.glob("*")) - {place / path.name for path in (named, *companions)}:
            old.unlink()
    return named


def _kept_saliency(note: Path, named: Path | None, remember: bool) -> Saliency | None:
    """Note a folder of saliency maps that was named, with the sha256 of what is in it; return it or the one noted."""
    if named is None:
        if not note.is_file():
            return None
        noted = read_json(note, "swdb make-proxy --saliency DIR")
        match noted:
            case {"folder": str() as folder, "sha256": str() as sha256}:
                return Saliency(Path(folder), sha256)
        raise MissingArtefact(f"{note} is damaged; delete it and run: swdb make-proxy --saliency DIR")
    if str(named) == "none":
        if remember:
            note.unlink(missing_ok=True)
        return None
    if not named.is_dir():
        raise BadInput(f"--saliency {named}: no such folder; expected a grey <id>.png for every training image")
    found = Saliency(named.resolve(), saliency_digest(named))
    if remember:
        write_json(note, {"folder": str(found.folder), "sha256": found.sha256})
    return found


def _stored_precision(folder: Path, remember: bool) -> str:
    """Return the work directory's precision; the first command that makes anything chooses it from the processor's flags."""
    path = folder / "precision.json"
    if path.is_file():
        stored = read_json(path, "swdb prepare-voc")
        precision = stored.get("precision") if isinstance(stored, dict) else None
        if precision not in PRECISIONS:
            raise BadInput(
                f"{path} names the precision {precision!r}; expected {' or '.join(PRECISIONS)}; delete the file to choose anew"
            )
        return precision
    flags = sorted(BF16_FLAGS & _processor_flags())
    gpu = Path("/dev/nvidiactl").exists()
    precision = "bf16" if flags or gpu else "fp32"
    if remember:
        write_json(path, {"precision": precision, "because": {"processor": flags, "gpu": gpu}})
    return precision


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())
