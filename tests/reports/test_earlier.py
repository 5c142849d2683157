"""What became of earlier tables: verdicts that did not stand first, and nothing that cannot be read."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import REPOSITORY

from swdb.core.errors import BadInput, MissingArtefact
from swdb.reports.earlier import PAGE, main, page

FOLDER, PRESET = "synthetic-small-badges", "synthetic"  # what it was called when it was computed


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """The same published results twice."""
    names = ("ledger.json", *(f"table{number}.json" for number in (1, 2, 3, 4)), f"specs/{PRESET}.toml")
    for side in ("earlier", "now"):
        for name in names:
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / "results" / FOLDER / name, tmp_path / side / name)
    return tmp_path / "earlier", tmp_path / "now"


def change_claims(folder: Path, **changes: str | None) -> None:
    """Give claims of a ledger another word; None takes them out."""
    path = folder / "ledger.json"
    found = json.loads(path.read_text())
    found["claims"] = [one for one in found["claims"] if changes.get(one["claim"]["key"], "") is not None]
    for one in found["claims"]:
        if word := changes.get(one["claim"]["key"]):
            one |= {"word": word, "shown": word}
    path.write_text(json.dumps(found))


def part(text: str, title: str) -> tuple[int, list[str]]:
    """Return how many claims a part of the page counts, and its lines."""
    head, _, rest = text.partition(f"## {title}: ")[2].partition("\n")
    return int(head), [line for line in rest.partition("\n## ")[0].splitlines()[3:] if line.startswith("|")]


def test_the_same_results_have_no_change(folders):
    text = page(*folders)
    assert [part(text, title)[0] for title in ("Verdicts that did not stand", "Decided now, and not earlier")] == [0, 0]
    ledger = json.loads((folders[0] / "ledger.json").read_text())
    assert part(text, "As they were")[0] == len(ledger["claims"]) and "`" not in text
    assert {line.split("|")[-2].strip() for line in text.partition("## Values")[2].splitlines()[6:]} == {"0.0"}


def test_verdicts_are_sorted_by_what_became_of_them(folders):
    earlier, now = folders
    change_claims(earlier, **{"mixing-hurts": "REPRODUCED", "kl-hurts": "UNDECIDED", "retraining-gains": None})
    change_claims(
        now,
        **{"mixing-hurts": "UNDECIDED", "kl-hurts": "CONTRADICTED", "retraining-gains": "UNDECIDED", "values-4": None},
    )
    text = page(earlier, now)
    count, (line,) = part(text, "Verdicts that did not stand")
    assert count == 1 and "mixing strong and weak labels" in line
    assert "| REPRODUCED (+18.3, +16.4 to +20.2) | UNDECIDED (+18.3" in line
    count, (line,) = part(text, "Decided now, and not earlier")
    assert count == 1 and "KL constraint" in line
    count, lines = part(text, "Changed otherwise")
    assert count == 2 and any("| not there | UNDECIDED" in line for line in lines)
    assert any(line.endswith("| not there |") for line in lines)


def test_a_contradiction_that_becomes_its_opposite_did_not_stand(folders):
    change_claims(folders[0], **{"mixing-hurts": "CONTRADICTED"})
    change_claims(folders[1], **{"mixing-hurts": "REPRODUCED"})
    assert part(page(*folders), "Verdicts that did not stand")[0] == 1


def test_values_seeds_and_settings_that_differ_are_told(folders):
    earlier, now = folders
    path = now / "table1.json"
    found = json.loads(path.read_text())
    values = found["rows"][0]["values"]["miou"]
    values["by_seed"] = {seed: score + 2.0 for seed, score in values["by_seed"].items()} | {"7": values["mean"] + 2.0}
    values["runs"]["7"] = "mixed-s7-0000000000"
    path.write_text(json.dumps(found))
    spec = now / "specs" / f"{PRESET}.toml"
    spec.write_text(spec.read_text().replace("steps = 1000", "steps = 1200", 1))
    text = page(earlier, now)
    assert "| 1 | mixed | miou | 54.7 ± 0.3 | 56.7 ± 0.3 | +2.0 |" in text
    assert "| seeds | 3 | 4 |" in text and "| `training.steps` | 1000 | 1200 |" in text


def test_it_is_written_beside_the_newer_tables(folders):
    main([*map(str, folders)])
    assert (folders[1] / PAGE).read_text() == page(*folders) and not (folders[0] / PAGE).exists()


@pytest.mark.parametrize("arguments", [[], ["nowhere", "nothing"], ["."]])
def test_anything_but_two_folders_is_refused(arguments):
    with pytest.raises(BadInput):
        main(arguments)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ledger.json", "{"),
        ("ledger.json", '{"preset": "synthetic", "claims": [7]}'),
        ("ledger.json", '{"preset": "synthetic", "claims": [{"claim": {"key": "a"}}]}'),
        ("table1.json", "{}"),
        (f"specs/{PRESET}.toml", "= ="),
    ],
)
def test_damaged_results_are_told_in_a_line(folders, name, text):
    (folders[0] / name).write_text(text)
    with pytest.raises(MissingArtefact) as caught:
        page(*folders)
    assert Path(caught.value.subject) == folders[0] / name


def test_a_folder_without_tables_is_told(folders):
    for path in folders[0].glob("table*"):
        path.unlink()
    with pytest.raises(MissingArtefact) as caught:
        page(*folders)
    assert caught.value.subject == folders[0]
