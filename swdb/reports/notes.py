"""What a reader must know to read a table's numbers, one sentence a line: whose they are, and what they rest on. No torch.

in: a MeasuredTable, its preset -> out: the lines under the table, the same in every format
"""

from collections.abc import Iterator, Sequence

from swdb.data.dataset import unlike_published
from swdb.data.kinds import facts_of
from swdb.reports.assumptions import footnote
from swdb.reports.dsrg_networks import network_lines
from swdb.reports.recognition import recognition_lines
from swdb.reports.results import MeasuredTable
from swdb.specs.methods import lacks
from swdb.specs.presets import Preset
from swdb.specs.tables import Table


def notes(measured: MeasuredTable, preset: Preset) -> list[str]:
    """Return the lines that stand under a table."""
    lines = []
    if measured.seeds:
        lines.append(
            f"measured: val mIoU in %, {_over(measured.seeds)}; last weights; nothing is chosen on the validation split"
        )
    if not measured.complete:
        lines.append("some cells have fewer seeds or were NOT RUN")
    if not preset.comparable:
        lines.append(f"{_scale(preset)}")
    lines += _columns(measured.spec)
    lines += left_out(measured.spec, preset)
    lines += _averages(measured.spec)
    lines += recognition_lines(measured.spec, measured.recognitions)
    lines.append(footnote(preset, measured.spec.number))
    if measured.proxy_use and measured.proxy_use.words:
        lines.append(measured.proxy_use.words)
        lines += network_lines(measured.proxy_use.networks, preset, measured.spec.number)
    if measured.data_digest:
        proxies = f"proxies {', '.join(measured.proxies)} (their quality.md says how good they are)"
        lines.append(f"data sha256 {measured.data_digest[:16]}, {proxies if measured.proxies else 'no proxies'}")
        if other := unlike_published(preset.data, measured.data_digest):
            lines.append(other)
    lines += [f"computed on {machine}" for machine in measured.machines]
    return lines


def _over(seeds: Sequence[int]) -> str:
    """Say what was taken of which seeds."""
    if len(seeds) == 1:
        return f"of seed {seeds[0]} alone"
    return f"mean ± standard deviation over seeds {', '.join(map(str, seeds))}"


def _scale(preset: Preset) -> str:
    """Say that the preset is not the paper's, and what the labels of rows mean here."""
    data = preset.data
    scale = (
        f"1.4k strong = {data.num_strong} images, 9k weak = {data.num_train - data.num_strong}, 10k = {data.num_train}"
    )
    facts, what = facts_of(data), "not PASCAL VOC"
    if not facts.synthetic:
        what, scale = f"{data.name}, a part of {facts.title}", f"{scale}, val = {data.num_val}"
    return f"{what}: the paper's values are shown for orientation only, without differences from them; here {scale}"


def _columns(spec: Table) -> Iterator[str]:
    """Say where quoted values come from, and which columns are ours."""
    for column in spec.columns:
        if column.branch is None:
            yield f"{column.title}: {column.provenance}"
        elif not column.printed:
            yield f"{column.title}: a column of ours, for which the paper has no values{_because(column.provenance)}"


def left_out(spec: Table, preset: Preset) -> Iterator[str]:
    """Say which columns no run can stand behind at the preset, as a method cannot be built on its backbone."""
    titles = {column.key: column.title for column in spec.columns}
    whys = {(column, why): None for (_, column), why in cannot_be_run(spec, preset).items()}
    yield from (f"{titles[column]}: NOT RUN at this preset; {why}" for column, why in whys)


def cannot_be_run(spec: Table, preset: Preset) -> dict[tuple[str, str], str]:
    """Return the cells, by row and column, whose method cannot be built on the preset's backbone, each with what that lacks."""
    found = {}
    for row in spec.rows:
        for column in spec.columns:
            run = row.run if column.run is None else row.runs.get(column.run)
            if run is not None and column.branch is not None and (why := lacks(run.method, preset.network.backbone)):
                found[row.key, column.key] = why
    return found


def _averages(spec: Table) -> Iterator[str]:
    """Say what the rows of averaged runs are."""
    for row in spec.rows:
        if row.average:
            runs = f"{', '.join(row.average[:-1])} and {row.average[-1]}"
            yield (
                f"{row.labels[0]}: a row of ours, for which the paper has no values; the class probabilities of the runs "
                f"{runs} of the same seed are averaged (their arithmetic mean), and nothing is trained for it"
            )


def _because(provenance: str) -> str:
    return f"; {provenance}" if provenance else ""
