"""What is published of a work directory: numbers, and all that they hang on; no real image, nothing that was trained."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cued
import pytest
from conftest import TINY
from made_up import MACHINE, finish_all
from studies import graph_of

from swdb.core.errors import MissingArtefact
from swdb.core.files import file_digest, write_json
from swdb.reports import bundle
from swdb.reports.bundle import publish, with_tables
from swdb.reports.ledger import ledger_of
from swdb.reports.results import measure
from swdb.specs import presets
from swdb.specs.presets import write_preset
from swdb.specs.tables import load_tables
from swdb.study.graph import Graph
from swdb.study.plan import make_plan
from swdb.study.stages import TABLE

README = "before\n" + "".join(
    f"<!-- {name} table {number} -->\nold {name} {number}\n<!-- end of table {number} -->\nbetween\n"
    for name in ("tiny", "other")
    for number in (1, 2, 3, 4)
)


def named(folder: Path, preset: Path, monkeypatch) -> None:
    """Let a preset be one that can be named."""
    folder.mkdir()
    shutil.copy(preset, folder / "tiny.toml")
    for module in (presets, bundle):
        monkeypatch.setattr(module, "PRESETS", folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said(path: Path):
    return json.loads(path.read_text())


def dead_links(target: Path) -> list[str]:
    """List what the pages of a folder link to in vain."""
    links = [(page, name) for page in target.glob("*.md") for name in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    return [f"{page.name}: {name}" for page, name in links if not (page.parent / name).exists()]


# ---------------------------------------------------------------- a study of synthetic scenes


@pytest.fixture(scope="module")
def work(finished, tmp_path_factory) -> Path:
    """A finished work directory with the figure that `swdb eval dual --figure` draws."""
    work = shutil.copytree(finished, tmp_path_factory.mktemp("published") / "work")
    figure = work / "reports" / "tiny" / "figures" / "dual-s0.png"
    figure.parent.mkdir()
    figure.write_bytes(b"a figure")
    return work


@pytest.fixture(scope="module")
def root(work) -> Path:
    """The root of a repository into which it was published."""
    root = work.parent / "root"
    root.mkdir()
    (root / "README.md").write_text(README)
    with pytest.MonkeyPatch.context() as monkeypatch:
        named(work.parent / "presets", Path(TINY), monkeypatch)
        publish(root, "tiny", work)
    return root


TABLE_FILES = {f"table{number}.{form}" for number in (1, 2, 3, 4) for form in ("md", "csv", "json")}


def test_tables_settings_quality_figure_and_inputs_are_published_and_nothing_else(root):
    expected = {
        "README.md", "settings.md", "dual-s0.png", "data.json", "digests.json", "environment.json", *TABLE_FILES,
        *(f"quality-{number}.{form}" for number in (1, 2) for form in ("md", "json", "jpg")),
        "specs/tiny.toml", *(f"specs/table{number}.toml" for number in (1, 2, 3, 4)),
    }  # fmt: skip
    assert contents(root / "results" / "tiny").keys() == expected
    assert contents(root).keys() == {"README.md", *(f"results/tiny/{name}" for name in expected)}


def test_what_is_copied_is_as_the_program_wrote_it(root, work):
    published, reports = contents(root / "results" / "tiny"), contents(work / "reports" / "tiny")
    for name in TABLE_FILES | {"settings.md"}:
        assert published[name] == reports[name]
    assert published["dual-s0.png"] == reports["figures/dual-s0.png"]
    assert published["specs/tiny.toml"] == Path(TINY).read_bytes()
    for number in (1, 2):
        proxies = graph_of(work).proxies(number).folder
        assert published[f"quality-{number}.json"] == (proxies / "quality.json").read_bytes()
        assert published[f"quality-{number}.jpg"] == (proxies / "quality.jpg").read_bytes()


def test_pages_link_only_to_what_is_there(root):
    target = root / "results" / "tiny"
    assert dead_links(target) == []
    page = (target / "README.md").read_text()
    for name in ("settings.md", "quality-1.md", "quality-2.md", "data.json", "digests.json", "specs", "dual-s0.png"):
        assert f"]({name})" in page
    assert "](lists)" not in page  # anybody can draw the scenes again
    assert "](quality-1.jpg)" in (target / "quality-1.md").read_text()


def test_the_page_of_a_preset_has_its_four_tables(root):
    target = root / "results" / "tiny"
    page = (target / "README.md").read_text()
    assert all((target / f"table{number}.md").read_text().rstrip() in page for number in (1, 2, 3, 4))


def test_the_readmes_tables_are_replaced_and_nothing_else(root):
    readme, target = (root / "README.md").read_text(), root / "results" / "tiny"
    for number in (1, 2, 3, 4):
        begin, end = f"<!-- tiny table {number} -->\n", f"<!-- end of table {number} -->"
        assert readme.partition(begin)[2].partition(end)[0] == (target / f"table{number}.md").read_text()
        assert f"old other {number}\n" in readme and f"old tiny {number}\n" not in readme
    between = [text.partition("<!-- tiny")[0] for text in re.split(r"<!-- end of table \d -->", readme)]
    assert between[0] == "before\n" and between[1:4] == ["\nbetween\n"] * 3


def test_every_run_of_the_tables_is_there_with_the_digests_of_its_inputs(root, work):
    digests = said(root / "results" / "tiny" / "digests.json")
    graph = graph_of(work)
    runs = [graph.run(run, 0) for run in graph.runs.values()]
    assert digests["runs"] == {run.id: run.read_record()["inputs"] for run in sorted(runs, key=lambda run: run.id)}
    assert digests["proxies"] == {
        graph.proxies(number).id: graph.proxies(number).read_record()["inputs"] for number in (1, 2)
    }
    assert digests["files"] == {}  # nothing was named


def test_the_data_set_is_there_with_its_audit(root, work):
    data, manifest = said(root / "results" / "tiny" / "data.json"), said(work / "data" / "tiny" / "manifest.json")
    assert data["digest"] == manifest["digest"] == data["audit"]["tree_root"]
    assert data["counts"] == {"train": 12, "train_aug": 32, "val": 6}
    tables = [said(root / "results" / "tiny" / f"table{number}.json") for number in (1, 2, 3, 4)]
    assert {table["data_sha256"] for table in tables} == {data["digest"]}


def test_machines_are_there_once_each_with_the_versions_of_libraries(root, work):
    environment = said(root / "results" / "tiny" / "environment.json")
    assert environment["machines"] == [graph_of(work).run(graph_of(work).run_spec("dual"), 0).read_record()["machine"]]
    assert environment["versions"].keys() == set(bundle.LIBRARIES)


def test_publishing_again_gives_the_same_and_leaves_no_old_report(root, work, tmp_path, monkeypatch):
    again = shutil.copytree(root, tmp_path / "root")
    for old in ("passport-1.md", "passport-1.jpg", "quality-3.json"):
        (again / "results" / "tiny" / old).write_text("old")
    named(tmp_path / "presets", Path(TINY), monkeypatch)
    publish(again, "tiny", work)
    assert contents(again) == contents(root)


def test_without_a_work_directory_pages_are_written_again_from_what_is_published(root, tmp_path, monkeypatch):
    again = shutil.copytree(root, tmp_path / "root")
    (again / "results" / "tiny" / "table3.md").write_text("table 3 again\n")
    named(tmp_path / "presets", Path(TINY), monkeypatch)
    publish(again, "tiny", None)
    after, before = contents(again), contents(root)
    changed = {"README.md", "results/tiny/README.md", "results/tiny/table3.md"}
    assert {name for name in before if after[name] != before[name]} == changed and after.keys() == before.keys()
    assert all(b"table 3 again\n" in after[name] for name in changed)


def test_a_data_set_that_changed_is_not_published(work, tmp_path, monkeypatch):
    spoilt = shutil.copytree(work, tmp_path / "work")
    path = spoilt / "data" / "tiny" / "image_labels.csv"
    path.write_text(path.read_text().replace("alpha", "beta", 1))
    (tmp_path / "README.md").write_text(README)
    named(tmp_path / "presets", Path(TINY), monkeypatch)
    with pytest.raises(MissingArtefact) as caught:
        publish(tmp_path, "tiny", spoilt)
    assert caught.value.subject == spoilt / "data" / "tiny"
    assert (tmp_path / "README.md").read_text() == README


# ---------------------------------------------------------------- a study of real images


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> tuple[Path, Graph]:
    """A repository into which a study of six real images was published, and the study; its runs are made up."""
    folder = tmp_path_factory.mktemp("real")
    graph, tables = cued.graph(folder), load_tables()
    plan = make_plan(graph, [(table, row) for table in tables.values() for row in table.rows], [0])
    finish_all(plan.scores.values())
    for number in (1, 2):
        proxies = graph.proxies(number).folder
        write_json(proxies / "quality.json", {"images": 4})
        (proxies / "quality.md").write_text(
            "Quality\n\n![20 worst](quality.jpg)\n\nAll in [quality.json](quality.json).\n"
        )
        (proxies / "quality.jpg").write_bytes(b"a picture of real images")
    measured = [measure(table, graph.runs, plan.cells(number)) for number, table in tables.items()]
    ledger = ledger_of(measured, graph.study.preset)
    for number, table in tables.items():
        report = TABLE.artefact(graph.study, table, graph.runs, plan.cells(number), ledger)
        report.finish(TABLE.make(report, None))
    write_preset(folder / "mine.toml", graph.study.preset)
    (folder / "README.md").write_text(README)
    with pytest.MonkeyPatch.context() as monkeypatch:
        named(folder / "presets", folder / "mine.toml", monkeypatch)
        publish(folder, "tiny", graph.study.folder)
    return folder / "results" / "tiny", graph


def test_neither_real_images_nor_pictures_of_them_nor_weights_are_published(real):
    target, _ = real
    files = contents(target)
    assert len(files) > 20
    assert {Path(name).suffix for name in files} == {".md", ".csv", ".json", ".toml", ".txt"}
    assert not any(b"a picture of real images" in content for content in files.values())


def test_reports_on_real_images_do_not_link_to_their_picture(real):
    target, _ = real
    assert dead_links(target) == []
    text = (target / "quality-2.md").read_text()
    assert "](quality-2.json)" in text and ".jpg" not in text and "not published" in text


def test_the_lists_of_real_images_are_published(real):
    target, _ = real
    for split, count in {"train": 2, "train_aug": 4, "val": 2}.items():
        published = (target / "lists" / f"{split}.txt").read_text().split()
        assert len(published) == count == said(target / "data.json")["counts"][split]
    assert "](lists)" in (target / "README.md").read_text()


def test_the_digests_of_named_files_are_published(real):
    target, graph = real
    cues = graph.study.files["cues"]
    digests = said(target / "digests.json")
    assert digests["files"] == {"cues": file_digest(cues.path)}
    dual = graph.run(graph.run_spec("dual"), 0)
    assert digests["runs"][dual.id] == {other.id: other.digest() for other in dual.inputs}
    assert said(target / "environment.json")["machines"] == [MACHINE]


# ---------------------------------------------------------------- tables in a text


def test_tables_are_put_between_the_markers_of_their_preset(tmp_path):
    for number in (1, 2, 3, 4):
        (tmp_path / f"table{number}.md").write_text(f"table {number} again, with \\1 and \\g<0>\n")
    changed = with_tables(README, tmp_path, "tiny")
    assert [changed.count(f"table {number} again, with \\1 and \\g<0>\n") for number in (1, 2, 3, 4)] == [1] * 4
    assert changed.partition("<!-- other")[2] == README.partition("<!-- other")[2]
    assert with_tables("no markers", tmp_path, "tiny") == "no markers"


def test_the_module_run_as_a_program_writes_the_pages_of_where_it_is_started(tmp_path):
    target = tmp_path / "results" / "synthetic"
    target.mkdir(parents=True)
    for number in (1, 2, 3, 4):
        (target / f"table{number}.md").write_text(f"table {number}\n")
    (tmp_path / "README.md").write_text(README.replace("tiny", "synthetic"))
    command = [sys.executable, "-m", "swdb.reports.bundle", "synthetic"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert "table 1\n\ntable 2\n" in (target / "README.md").read_text()
    assert "<!-- synthetic table 4 -->\ntable 4\n<!-- end" in (tmp_path / "README.md").read_text()
