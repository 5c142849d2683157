"""The page of a preset's results, and the README's tables: as the program wrote them, and nothing typed."""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from bundles import written
from conftest import PUBLISHED, REPOSITORY, TINY
from drawn import drawn_study

from swdb.core.errors import MissingArtefact
from swdb.core.progress import silent
from swdb.evidence.output import write_results
from swdb.evidence.rescore import rescored
from swdb.reports import second_branch
from swdb.reports.published import MAIN_TABLES, compare_presets, curves, page, publish, render_again, with_tables
from swdb.reports.regime import comparison
from swdb.reports.side_by_side import claims_by_preset
from swdb.specs import presets
from swdb.specs.presets import load_preset

README = "before\n" + "".join(
    f"<!-- {name} table {number} -->\nold {name} {number}\n<!-- end of table {number} -->\nbetween\n"
    for name in ("tiny", "other")
    for number in (1, 2, 3, 4)
)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """The root of a repository into which a bundle's tables were written."""
    bundle = written(drawn_study(tmp_path / "work", [0, 1], rows={"strong", "dual"}), tmp_path / "x.zip")
    root = tmp_path / "root"
    (root / "results").mkdir(parents=True)
    (root / "README.md").write_text(README)
    with rescored(bundle, None, silent) as found:
        write_results(found.bundle, found.recorded, root / "results" / "tiny")
    (tmp_path / "presets").mkdir()
    shutil.copy(TINY, tmp_path / "presets" / "tiny.toml")
    shutil.copy(presets.PRESETS / "voc.toml", tmp_path / "presets")  # the paper's, to which settings are compared
    monkeypatch.setattr("swdb.specs.presets.PRESETS", tmp_path / "presets")
    return root


def dead_links(target: Path) -> list[str]:
    """List what the pages of a folder link to in vain."""
    links = [(page, name) for page in target.glob("*.md") for name in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    return [f"{page.name}: {name}" for page, name in links if not (page.parent / name).exists()]


def test_the_page_of_a_preset_has_its_four_tables_and_links_to_what_is_there(root):
    publish(root, "tiny")
    target = root / "results" / "tiny"
    text = (target / "README.md").read_text()
    assert all((target / f"table{number}.md").read_text().rstrip() in text for number in (1, 2, 3, 4))
    for name in ("settings.md", "data.json", "digests.json", "environment.json", "ledger.json", "specs"):
        assert f"]({name})" in text
    assert "](lists)" not in text and dead_links(target) == []
    (target / "dual-s0.png").write_bytes(b"a figure")
    assert "](dual-s0.png)" in page(load_preset("tiny"), target)


def test_the_readmes_tables_are_replaced_and_nothing_else(root):
    publish(root, "tiny")
    readme, target = (root / "README.md").read_text(), root / "results" / "tiny"
    for number in (1, 2, 3, 4):
        begin, end = f"<!-- tiny table {number} -->\n", f"<!-- end of table {number} -->"
        shown, whole = readme.partition(begin)[2].partition(end)[0], (target / f"table{number}.md").read_text()
        assert shown and whole.startswith(f"{shown}\nClaims:")
        assert f"old other {number}\n" in readme and f"old tiny {number}\n" not in readme


def test_claims_stand_side_by_side_between_their_markers(root):
    markers = "before\n<!-- claims by preset -->\nold\n<!-- end of claims by preset -->\nbehind\n"
    for place in (root / "README.md", root / "results" / "README.md"):
        place.write_text(markers)
    publish(root, "tiny")
    for place, numbers in ((root / "README.md", MAIN_TABLES), (root / "results" / "README.md", None)):
        assert place.read_text() == markers.replace("old\n", claims_by_preset(root / "results", numbers))


def test_tables_without_a_bundle_are_rendered_again_from_their_values(root):
    target = root / "results" / "tiny"
    before = {path.name: path.read_text() for path in target.glob("table*")}
    render_again(load_preset("tiny"), target)
    after = {path.name: path.read_text() for path in target.glob("table*")}
    assert {name for name in before if name.endswith(".csv") and before[name] != after[name]} == set()
    values = [json.loads(texts["table2.json"])["rows"] for texts in (before, after)]
    assert values[0] == values[1]
    assert json.loads((target / "ledger.json").read_text())["preset"] == "tiny"
    again = {path.name: path.read_text() for path in target.iterdir() if path.is_file()}
    publish(root, "tiny", again=True)
    assert {name: (target / name).read_text() for name in again} == again


def test_what_only_a_bundle_knows_is_kept_of_claims_that_come_out_as_they_did(tmp_path):
    target = shutil.copytree(REPOSITORY / "results" / "synthetic", tmp_path / "synthetic")
    path = target / "ledger.json"
    before = json.loads(path.read_text())
    with_images = [one for one in before["claims"] if one["images_interval"]]
    assert len(with_images) > 2
    with_images[0]["registered"] = "before"
    with_images[1]["effect"] += 1.0  # of other scores
    with_images[2]["claim_sha256"] = "0" * 64  # of another claim of this name
    path.write_text(json.dumps(before))
    render_again(load_preset("synthetic"), target)
    after = {one["claim"]["key"]: one for one in json.loads(path.read_text())["claims"]}
    kept = [after[one["claim"]["key"]] for one in with_images]
    assert kept[0]["images_interval"] == with_images[0]["images_interval"] and kept[0]["registered"] == "before"
    assert kept[1]["images_interval"] is None is kept[2]["images_interval"]
    assert [one["images_interval"] for one in kept[3:]] == [one["images_interval"] for one in with_images[3:]]


@pytest.mark.parametrize("damage", ["{", "{}", '{"claims": [7]}', '{"claims": [{"claim": 7}]}'])
def test_a_damaged_ledger_is_not_rendered_from(root, damage):
    path = root / "results" / "tiny" / "ledger.json"
    path.write_text(damage)
    with pytest.raises(MissingArtefact) as caught:
        render_again(load_preset("tiny"), path.parent)
    assert caught.value.subject == path


def test_the_table_of_regimes_stands_between_its_markers_and_is_written_with_each_preset(root):
    (root / "README.md").write_text(README + "<!-- regimes -->\nold\n<!-- end of regimes -->\nbehind\n")
    publish(root, "tiny")
    shown = (root / "README.md").read_text().partition("<!-- regimes -->\n")[2]
    assert shown.partition("<!-- end of")[0] == comparison(root / "results") and shown.endswith("-->\nbehind\n")
    assert "| tiny | NOT RUN | NOT RUN | " in shown and "| the paper | 57.0 | 62.8 | " in shown


def test_what_proxies_score_is_read_from_the_page_of_their_quality_where_a_table_does_not_say(root):
    target = root / "results" / "tiny"
    found = json.loads((target / "table2.json").read_text())
    assert found["mask_scores"] == {}  # row weak was not run
    (name,) = [one for one in found["proxies"] if one.startswith("dsrg-1-")]
    report = {"name": name, "set": 1, "masks": {"miou": 50.0}, "confusion": {"true_by_proxy": [[2, 1], [1, 2]]}}
    for changed, expected in ((report, 50.0), (report | {"name": "others"}, None), (report | {"set": 2}, None)):
        (target / "quality-1.json").write_text(json.dumps(changed))
        (target / "table2.json").write_text(json.dumps(found))
        render_again(load_preset("tiny"), target)
        scores = json.loads((target / "table2.json").read_text())["mask_scores"]
        assert scores.keys() == {"0", "1"} and all(one["miou"] == expected for one in scores.values())


def test_a_table_with_impossible_values_is_not_rendered(root):
    path = root / "results" / "tiny" / "table1.json"
    found = json.loads(path.read_text())
    found["rows"][0]["values"]["miou"]["by_seed"] = {"0": 120.0}
    path.write_text(json.dumps(found))
    with pytest.raises(MissingArtefact) as caught:
        render_again(load_preset("tiny"), path.parent)
    assert "table1.json" in str(caught.value.subject)


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_published_is_what_todays_claims_and_rule_say(name, tmp_path):
    published = REPOSITORY / "results" / name
    target = shutil.copytree(published, tmp_path / name)
    render_again(load_preset(name), target)
    said, now = (json.loads((folder / "ledger.json").read_text()) for folder in (published, target))
    assert said == now and said["regime"]["conditions"]
    for path in published.iterdir():
        if path.is_file():
            assert (target / path.name).read_bytes() == path.read_bytes(), path.name


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
    command = [sys.executable, "-m", "swdb.reports.published", "synthetic"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert "table 1\n\ntable 2\n" in (target / "README.md").read_text()
    assert "<!-- synthetic table 4 -->\ntable 4\n<!-- end" in (tmp_path / "README.md").read_text()


# ---------------------------------------------------------------- drawings


def words_of(path: Path) -> list[str]:
    """List all that is written in a drawing; where its lines run may hang on the version of the library that drew it."""
    return [one.text for one in ET.parse(path).iter() if one.text and not one.tag.endswith("}style")]


def published_again(name: str, root: Path) -> Path:
    """Publish a preset's results once more, elsewhere; returns the folder of all results."""
    shutil.copytree(REPOSITORY / "results", root / "results")
    for path in (root / "results").rglob("*.svg"):
        path.unlink()
    shutil.copy(REPOSITORY / "README.md", root)
    publish(root, name)
    return root / "results"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_drawings_show_the_published_values(name, tmp_path):
    results = published_again(name, tmp_path)
    drawn = sorted(results.rglob("*.svg"))
    kept = REPOSITORY / "results"
    there = {kept / "second-branch.svg", *(kept / name).glob("*.svg")}
    assert {kept / path.relative_to(results) for path in drawn} == there and len(there) >= 2  # none more, none stale
    for path in drawn:
        assert words_of(path) == words_of(REPOSITORY / "results" / path.relative_to(results)), path.name
    for one in (Path("README.md"), Path(name, "README.md")):
        assert (results / one).read_text() == (REPOSITORY / "results" / one).read_text()
    before = {path: path.read_bytes() for path in drawn}
    publish(tmp_path, name)
    assert {path: path.read_bytes() for path in drawn} == before


def test_curves_of_tables_1_and_3_are_on_the_page_and_those_of_what_nobody_ran_are_not(root):
    target = REPOSITORY / "results" / "synthetic"
    names = [name for name, _ in curves(target)]
    assert {"curve-1-oversample.svg", "curve-3-shared-layers.svg"} <= set(names)
    assert all(f"]({name})" in (target / "README.md").read_text() for name in names)
    publish(root, "tiny")  # rows strong and dual of Tables 1 and 2 alone
    tiny = root / "results" / "tiny"
    assert [*curves(tiny)] == [] == [*tiny.glob("*.svg")] and "curve-" not in (tiny / "README.md").read_text()


def test_all_presets_together_stand_between_their_markers(root):
    readme, begin = root / "results" / "README.md", "<!-- second branch -->\n"
    readme.write_text(f"before\n{begin}old\n<!-- end of second branch -->\nbehind\n")
    publish(root, "tiny")
    text = readme.read_text()
    assert text.startswith(f"before\n{begin}![") and text.endswith("<!-- end of second branch -->\nbehind\n")
    assert "| tiny | " in text and "old" not in text and (root / "results" / second_branch.FIGURE).is_file()
    readme.unlink()
    compare_presets(root / "results")
    assert not readme.exists()


def test_every_set_of_proxies_has_a_link_of_its_own(root):
    target = root / "results" / "tiny"
    for name in ("quality-1", "quality-1-s1", "quality-2-s1"):
        (target / f"{name}.md").write_text("how good they are")
    text = page(load_preset("tiny"), target)
    assert all(f"]({name}.md)" in text for name in ("quality-1", "quality-1-s1", "quality-2-s1"))


def test_a_page_of_what_changed_is_linked_where_it_is(root):
    target = root / "results" / "tiny"
    assert "](changes.md)" not in page(load_preset("tiny"), target)
    (target / "changes.md").write_text("what changed")
    assert "](changes.md)" in page(load_preset("tiny"), target)


@pytest.mark.parametrize(
    "words", [["published"], ["published", "tiny", "once"], ["published", "nothing"], ["earlier", "."]]
)
def test_wrong_words_are_told_in_one_line(words, tmp_path):
    module, *arguments = words
    command = [sys.executable, "-m", f"swdb.reports.{module}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY)})
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
