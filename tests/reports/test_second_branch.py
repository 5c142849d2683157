"""What a second branch gains, beside how good the weak labels are: a point a preset, and none that nobody measured."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import PUBLISHED, REPOSITORY

from swdb.core.errors import MissingArtefact
from swdb.proxy.quality_page import PUBLISHED_BY_SET
from swdb.reports.second_branch import HEADER, Case, Difference, cases, drawing, section

RESULTS = REPOSITORY / "results"
PAPER = Case("the paper", (), 57.4, Difference(11.9), Difference(3.3), printed=True)


@pytest.fixture
def results(tmp_path) -> Path:
    """Results of one preset under a name that the program cannot know."""
    (tmp_path / "trial").mkdir()
    shutil.copy(RESULTS / PUBLISHED[0] / "table2.json", tmp_path / "trial")
    return tmp_path


def change(results: Path, **values) -> dict:
    path = results / "trial" / "table2.json"
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps(found))
    return found


def trial(results: Path) -> Case:
    return cases(results)[1]


def case(name: str = "trial", masks: tuple[float, ...] = (52.0,), gain: Difference | None = None) -> Case:
    return Case(name, masks, None, Difference(18.0, (16.0, 20.0)), gain or Difference(2.0, (0.5, 3.5)), 3, "UNDECIDED")


def texts(found: list[Case]) -> list[str]:
    return [one.text for one in ET.fromstring(drawing(found).svg).iter("text")]


def test_the_paper_comes_first_with_its_printed_differences_and_no_score_of_its_masks(tmp_path):
    (paper,) = cases(tmp_path)
    assert paper.printed and paper.masks == () and paper.network == PUBLISHED_BY_SET[1]["miou"]
    assert (paper.apart.effect, paper.gain.effect) == pytest.approx((68.9 - 57.0, 72.2 - 68.9))
    assert paper.gain.ends is None


def test_a_preset_has_its_claims_effects_and_its_proxies_score(results):
    found = json.loads((results / "trial" / "table2.json").read_text())
    one, means = trial(results), {row["key"]: row["values"]["miou"]["mean"] for row in found["rows"]}
    assert one.name == "trial" and one.seeds == len(found["seeds"])
    assert one.gain.effect == pytest.approx(means["dual"] - means["strong"], abs=1e-4)
    assert one.apart.effect == pytest.approx(means["strong"] - means["weak"], abs=1e-3)
    assert one.gain.ends[0] < one.gain.effect < one.gain.ends[1]
    assert one.masks == (found["mask_scores"]["0"]["miou"],)
    networks = found["proxy_use"]["networks"]
    assert one.network == networks[found["mask_scores"]["0"]["proxies"]]["miou"]["several-crf"]


def test_every_published_preset_is_a_case_and_no_other():
    assert len(PUBLISHED) >= 2
    assert [one.name for one in cases(RESULTS)] == ["the paper", *PUBLISHED]


def test_where_seeds_have_proxies_of_their_own_their_range_is_shown(results):
    scores = {str(k): {"proxies": f"dsrg-1-{k}", "miou": 50.0 + k, "why": ""} for k in range(3)}
    change(results, mask_scores=scores)
    assert trial(results).masks == (50.0, 51.0, 52.0)
    assert "| 51.0 (50.0 to 52.0) |" in section(cases(results))


def test_what_nobody_ran_is_no_point_but_a_line(results):
    claims = change(results)["claims"]
    for one in claims:
        one |= {"effect": None, "seeds_interval": None, "seeds": [], "shown": "NOT RUN"}
    change(results, claims=claims, mask_scores={})
    one = trial(results)
    assert one.gain is None and one.masks == ()
    assert "trial" not in texts(cases(results)) and "0 presets are 0 points" in section(cases(results))
    assert "| trial | NOT RUN |" in section(cases(results))


def test_claims_of_another_time_are_looked_up_by_their_cells(results):
    change(results, claims=[])
    assert trial(results).verdict == "NOT RUN" and trial(results).gain is None


@pytest.mark.parametrize("claims", [7, [7], [{"claim": {"kind": "ordering"}}, {}]])
def test_a_table_with_other_claims_is_refused(results, claims):
    change(results, claims=claims)
    with pytest.raises(MissingArtefact) as caught:
        cases(results)
    assert caught.value.subject == results / "trial" / "table2.json"


def test_the_drawing_names_each_preset_and_says_what_the_papers_place_is():
    shown = texts([PAPER, case(), case("other", (55.0, 57.0))])
    assert {"trial", "other"} <= set(shown) and any("DSRG on val, as published" in text for text in shown)
    one = drawing([PAPER, case()])
    assert one.header == HEADER and one.rows[1][:2] == ("trial", "UNDECIDED")
    assert "trial: proxies 52.0, strong − weak +18.0, dual − strong +2.0, 3 seeds" in one.description


def test_a_preset_whose_proxies_nobody_scored_stands_on_the_right_alone():
    assert "trial" in texts([PAPER, case(masks=())])


def test_many_presets_look_different():
    svg = drawing([PAPER, *(case(f"preset-{k}", (40.0 + k,)) for k in range(12))]).svg
    assert all(f"preset-{k}" in svg for k in range(12))
    assert svg == drawing([PAPER, *(case(f"preset-{k}", (40.0 + k,)) for k in range(12))]).svg


def test_how_many_points_there_are_is_counted():
    assert "**1 preset is 1 point, and no curve:**" in section([PAPER, case()])
    assert "**2 presets are 2 points, and no curve:**" in section([PAPER, case(), case("b")])
    assert PUBLISHED_BY_SET[1]["source"] in section([PAPER])
