"""What became of every claim, preset by preset: as the ledgers say, and the paper beside them."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import PUBLISHED, REPOSITORY

from swdb.core.errors import MissingArtefact
from swdb.core.numbers import signed
from swdb.reports.side_by_side import claims_by_preset
from swdb.specs.tables import load_tables, printed_values

RESULTS = REPOSITORY / "results"


@pytest.fixture
def results(tmp_path) -> Path:
    for name in ("synthetic", "voc-animals"):
        (tmp_path / name).mkdir()
        shutil.copy(RESULTS / name / "ledger.json", tmp_path / name)
    return tmp_path


def ledger(folder: Path) -> dict[str, dict]:
    return {one["claim"]["key"]: one for one in json.loads((folder / "ledger.json").read_text())["claims"]}


def change(folder: Path, key: str, **values) -> None:
    found = json.loads((folder / "ledger.json").read_text())
    next(one for one in found["claims"] if one["claim"]["key"] == key).update(values)
    (folder / "ledger.json").write_text(json.dumps(found))


def rows(results: Path, *numbers: int) -> dict[str, list[str]]:
    """Return the cells of each line by what stands first in it."""
    lines = claims_by_preset(results, numbers or None).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if not line.startswith("| ---")]
    return {first: others for first, *others in cells}


def test_all_that_is_published_stands_beside_the_paper():
    found = rows(RESULTS)
    assert found["claim"] == ["the paper", *sorted(PUBLISHED)]
    assert found["*images*"][1:] == ["photographs" if "voc" in name else "drawn scenes" for name in sorted(PUBLISHED)]
    claims = {claim.key: claim for table in load_tables().values() for claim in table.claims}
    for column, name in enumerate(sorted(PUBLISHED), start=1):
        for key, one in ledger(RESULTS / name).items():
            if one["word"] not in ("NOT COMPARABLE", "NOT RUN"):
                words = f"{one['shown'].removeprefix('MECHANISM ')} {signed(one['effect'])}"
                assert found[claims[key].text][column].startswith(words), key


def test_the_printed_effect_is_taken_as_a_measured_one_is(results):
    found, printed = rows(results), printed_values(load_tables())
    claims = {claim.key: claim for table in load_tables().values() for claim in table.claims}
    mixing = printed["1:strong.miou"] - printed["1:mixed.miou"]
    assert found[claims["mixing-hurts"].text][0] == f"{mixing:+.1f}" == "+6.1"
    assert found[claims["fine-tuning-converges"].text][0] == "0.0"  # printed alike
    smallest = min(
        printed[high] - printed[low]
        for low, high in zip(
            claims["strong-over-weak-branch"].lower, claims["strong-over-weak-branch"].higher, strict=True
        )
    )
    assert found[claims["strong-over-weak-branch"].text][0] == f"{smallest:+.1f}"
    assert found[claims["over-two-networks"].text][0] == "–"  # no row of the paper's


def test_tables_may_be_chosen_and_what_no_preset_can_compare_is_left_out(results):
    claims = [claim for table in load_tables().values() if table.number == 1 for claim in table.claims]
    found = rows(results, 1)
    assert [*found][3:] == [claim.text for claim in claims if claim.kind != "value"]


def test_fewer_seeds_than_others_of_a_preset_stand_beside_the_verdict(results):
    change(results / "synthetic", "mixing-hurts", seeds=[0, 1, 2], word="UNDECIDED", shown="UNDECIDED", effect=-0.04)
    found = rows(results, 1)
    cells = found["mixing strong and weak labels in one branch is worse than strong labels alone"]
    assert cells[1] == "UNDECIDED 0.0 (3 seeds)" and "seeds" not in cells[2]
    assert found["*seeds*"] == [
        "",
        "12",
        str(max(len(one["seeds"]) for one in ledger(RESULTS / "voc-animals").values())),
    ]


def test_what_nobody_ran_and_what_an_older_ledger_lacks_have_no_number(results):
    change(results / "synthetic", "mixing-hurts", word="NOT RUN", shown="NOT RUN", effect=None, seeds=[])
    path = results / "voc-animals" / "ledger.json"
    found = json.loads(path.read_text())
    found["claims"] = [one for one in found["claims"] if one["claim"]["key"] != "mixing-hurts"]
    path.write_text(json.dumps(found))
    cells = rows(results, 1, 2)
    assert "mixing strong and weak labels in one branch is worse than strong labels alone" in cells
    assert cells["mixing strong and weak labels in one branch is worse than strong labels alone"][1:] == [
        "NOT RUN",
        "–",
    ]


@pytest.mark.parametrize("damage", ["{", "{}", '{"claims": [7]}', '{"claims": [{"claim": {"key": "x"}}]}'])
def test_a_damaged_ledger_is_named(results, damage):
    path = results / "synthetic" / "ledger.json"
    path.write_text(damage)
    with pytest.raises(MissingArtefact) as caught:
        claims_by_preset(results)
    assert caught.value.subject == path
