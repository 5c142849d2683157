"""What is read of a bundle, in a folder of its own."""

import pytest
from bundles import SPEC, contents, written
from conftest import REPOSITORY
from drawn import drawn_study

from swdb.core.errors import NotOurs
from swdb.core.files import write_json, write_text
from swdb.core.progress import silent
from swdb.evidence.output import write_results
from swdb.evidence.rescore import rescored


def results(path, target, data=None):
    with rescored(path, data, silent) as found:
        assert found.holds, found.findings
        return write_results(found.bundle, found.recorded, target)


def test_tables_ledger_specs_and_what_they_hang_on_are_written(ours, tmp_path):
    files = contents(ours)
    paths = results(ours, tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in paths}
    assert names == {
        *(f"table{number}.{form}" for number in (1, 2, 3, 4) for form in ("md", "csv", "json")),
        "settings.md", "ledger.json", "data.json", "digests.json", "environment.json", "specs/tiny.toml",
        *(f"specs/table{number}.toml" for number in (1, 2, 3, 4)),
    }  # fmt: skip
    assert (tmp_path / "table3.md").read_bytes() == files["reports/tiny/table3.md"]
    assert (tmp_path / "specs/tiny.toml").read_text() == SPEC
    assert (tmp_path / "specs/table1.toml").read_bytes() == (REPOSITORY / "tables/table1.toml").read_bytes()


def test_quality_reports_and_the_figure_of_drawn_scenes_are_written_under_other_names(tmp_path):
    graph = drawn_study(tmp_path / "work", [0], rows={"weak"})
    quality = graph.proxies(1).folder
    write_text(quality / "quality.md", "Quality\n\n![worst](quality.jpg)\n\nAll in [quality.json](quality.json).\n")
    write_text(quality / "quality.json", "{}\n")
    (quality / "quality.jpg").write_bytes(b"a picture")
    figure = graph.study.reports / "figures" / "dual-s0.png"
    figure.parent.mkdir()
    figure.write_bytes(b"a figure")
    target = tmp_path / "results"
    target.mkdir()
    write_json(target / "ledger.json", {"preset": graph.study.preset.name})
    (target / "quality-7.md").write_text("old")
    (target / "README.md").write_text("a page")
    (target / "quality-notes.md").write_text("somebody's own")
    (target / "quality-x").mkdir()
    results(written(graph, tmp_path / "x.zip"), target)
    assert (target / "dual-s0.png").read_bytes() == b"a figure" and (
        target / "quality-1.jpg"
    ).read_bytes() == b"a picture"
    assert (
        "](quality-1.jpg)" in (target / "quality-1.md").read_text()
        and "](quality-1.json)" in (target / "quality-1.md").read_text()
    )
    assert not (target / "quality-7.md").exists() and (target / "README.md").read_text() == "a page"


@pytest.mark.parametrize("ledger", [None, "{", "[]", '{"preset": "another"}'])
def test_files_of_somebody_else_are_neither_replaced_nor_deleted(ours, tmp_path, ledger):
    own = {"table3.md": "a draft", "quality-7.md": "a note"}
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    if ledger is not None:
        (tmp_path / "ledger.json").write_text(ledger)
        own["ledger.json"] = ledger
    with pytest.raises(NotOurs) as caught:
        results(ours, tmp_path)
    assert caught.value.subject == tmp_path / ("table3.md" if ledger is None else "ledger.json")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == own


def test_the_same_files_again_are_no_others(ours, tmp_path):
    first = {path: path.read_bytes() for path in results(ours, tmp_path)}
    (tmp_path / "ledger.json").unlink()
    assert {path: path.read_bytes() for path in results(ours, tmp_path)} == first
