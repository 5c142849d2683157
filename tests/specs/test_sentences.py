"""Every sentence of the supplement has claims or a reason for none, and every claim is a sentence's."""

import re
import shutil
from pathlib import Path

import pytest

from swdb.core.errors import BadInput
from swdb.specs.sentences import FILE, load_sentences
from swdb.specs.tables import load_tables, tables_folder

REPOSITORY = Path(__file__).parents[2]
SUPPLEMENT = REPOSITORY.parent / "shared" / "paper" / "supplement.txt"
TABLE_ROW = re.compile(r"\t|^\$?VGG16|^\d+ +\d+\.\d|^n$|mIc|Backbone|Strong branch|Training data")
NO_SENTENCE = re.compile(r"W\. Luo et al\.|^\d+ Extra|^\d+ Ablation|^\d+ Training|^\d+ Regularization|^\(\d\)$")


def plain(text: str) -> str:
    """Return text without what scanning made of formulas and marks."""
    return " ".join(re.sub(r"[^A-Za-z0-9.,()%\[\]' ]", " ", text).split()).casefold()


def sentences_of(text: str) -> list[str]:
    """Split the supplement into sentences: no heads of tables, no formulas, no references, and captions without the title."""
    body = text.split("## 1 ", 1)[1].split("#### References", 1)[0]
    body = re.sub(r"\$\$.*?\$\$", " ", body, flags=re.DOTALL)
    body = re.sub(r"2 W\. Luo et al\.", "", body)
    lines = [
        line for line in body.splitlines() if line.strip() and not TABLE_ROW.search(line) and not line.startswith("#")
    ]
    whole = re.sub(r"\*\*Table \d\.\*\*[^.]*\.|^Table 4\.[^.]*\.", " ", "\n".join(lines), flags=re.MULTILINE)
    # a full stop ends a sentence where a capital letter follows; formulas between lines belong to the sentence before
    return [
        plain(one) for one in re.split(r"(?<=[.])\s+(?=[A-Z])", " ".join(whole.split())) if len(plain(one).split()) > 2
    ]


@pytest.mark.skipif(not SUPPLEMENT.is_file(), reason="the supplement's text is not at hand")
def test_every_sentence_of_the_supplement_is_there_and_every_quotation_is_its_words():
    text = SUPPLEMENT.read_text(encoding="utf-8")
    known = [plain(one.words) for one in load_sentences() if one.words != "the printed values"]
    found = sentences_of(text)
    assert len(found) >= 25
    assert [one for one in found if not any(words in one for words in known)] == []
    assert [words for words in known if words not in plain(text)] == []


def test_the_sentences_stand_in_the_supplements_order():
    places = [float(one.place.split()[1].strip(",")) for one in load_sentences() if one.place.startswith("section")]
    assert places == sorted(places) and set(places) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_quotations_are_short_and_each_is_there_once():
    found = load_sentences()
    assert all(len(one.words.split()) <= 12 for one in found)
    assert len({(one.place, one.words) for one in found}) == len(found)


def test_every_claim_is_read_by_a_sentence_of_its_place():
    claims = {claim.key: claim for table in load_tables().values() for claim in table.claims}
    read = {}
    for one in load_sentences():
        for key in one.claims:
            read.setdefault(key, []).append(one.place.split(",")[0])
    assert read.keys() == claims.keys()
    for key, places in read.items():
        assert any(place in claims[key].place.replace("Tables 2 and 3", "Table 2, Table 3") for place in places), key


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the specs that a test may edit."""
    return Path(shutil.copytree(tables_folder(), tmp_path / "tables"))


MISTAKES = {  # what is replaced by what, where the error is, what was found
    "a claim that is none": ('claims = ["kl-hurts"]', 'claims = ["kl-hurst"]', "claim 'kl-hurst'", "unknown"),
    "a claim that no sentence makes": ('claims = ["kl-hurts"]', 'why = "none"', "claim 'kl-hurts'", "read by no sentence"),
    "neither claims nor reason": ('claims = ["kl-hurts"]', "claims = []", "sentence", "neither"),
    "claims and a reason": ('claims = ["kl-hurts"]', 'claims = ["kl-hurts"]\nwhy = "x"', "sentence", "claims and a reason"),
    "a note without claims": ('why = "an introduction"', 'why = "x"\nnote = "y"', "key 'note'", "without claims"),
    "a claim twice": ('claims = ["kl-hurts"]', 'claims = ["kl-hurts", "kl-hurts"]', "key 'claims'", "twice"),
    "no words": ('words = "We use n = 3"', 'words = " "', "key 'words'", "empty"),
    "another key": ('words = "We use n = 3"', 'word = "We use n = 3"', "key 'word'", "unknown"),
    "another heading": ("[[sentence]]", "[[sentense]]", "key 'sentense'", "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_place(folder, mistake):
    old, new, place, found = MISTAKES[mistake]
    path = folder / FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if mistake != "another heading" else text.replace(old, new))
    if mistake in ("a claim that no sentence makes", "neither claims nor reason", "claims and a reason"):
        path.write_text(re.sub(r'note = "the direction.*\n', "", path.read_text()))
    with pytest.raises(BadInput) as caught:
        load_sentences(folder)
    assert FILE in caught.value.subject and place in caught.value.subject and found in caught.value.found
    assert "\n" not in str(caught.value)


def test_a_file_without_sentences_is_refused(folder):
    (folder / FILE).write_text("")
    with pytest.raises(BadInput, match="sentence"):
        load_sentences(folder)
