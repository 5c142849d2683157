"""The metadata of an article: what is known is there, nothing else, and the title claims what the ledger says."""

import json
from dataclasses import replace

import pytest

from swdb.reports.ledger import ledger_of
from swdb.reports.rescience import abstract, mark, rescience
from swdb.reports.results import measure
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables
from swdb.verdicts.verdict import CONTRADICTED, NOT_RUN, REPRODUCED, UNDECIDED, Ledger

PRESET, TABLES = load_preset("synthetic"), load_tables()
LEDGER = ledger_of([measure(table, all_runs(TABLES), {}) for table in TABLES.values()], PRESET)


def judged(*words: str, comparable: bool = True) -> Ledger:
    """A ledger with these verdicts."""
    some = LEDGER.verdicts[: len(words)]
    verdicts = tuple(replace(one, word=word, comparable=comparable) for one, word in zip(some, words, strict=True))
    return replace(LEDGER, verdicts=verdicts, comparable=comparable)


@pytest.mark.parametrize(
    ("words", "comparable", "expected"),
    [
        ((REPRODUCED, REPRODUCED), True, "[Re] "),
        ((REPRODUCED, CONTRADICTED, NOT_RUN), True, "[¬Re] "),
        ((REPRODUCED, UNDECIDED), True, ""),
        ((REPRODUCED, REPRODUCED), False, ""),
        ((CONTRADICTED,), False, ""),
        ((), True, ""),
    ],
)
def test_the_title_is_marked_only_where_the_ledger_says_so(words, comparable, expected):
    ledger = judged(*words, comparable=comparable)
    assert mark(ledger) == expected
    text = rescience(PRESET, ledger)
    assert f'title: "{expected}Improving' in text and ("No [Re] or [¬Re] yet" in text) == (not expected)


def test_the_abstract_counts_the_verdicts():
    assert abstract(PRESET, judged(REPRODUCED, CONTRADICTED, REPRODUCED)).endswith(
        "Of 3 claims: 2 REPRODUCED, 1 CONTRADICTED."
    )
    assert "1 MECHANISM SHOWN, 1 MECHANISM NOT SHOWN" in abstract(
        PRESET, judged(REPRODUCED, CONTRADICTED, comparable=False)
    )
    assert abstract(PRESET, judged()).endswith("Of 0 claims: none was judged.")


def test_what_is_not_known_is_empty_and_every_line_is_a_comment_a_key_or_a_list():
    lines = rescience(PRESET, LEDGER).splitlines()
    for line in lines:
        if not line.startswith("#"):
            key, colon, value = line.strip().removeprefix("- ").partition(":")
            assert colon and key.isalpha(), line
            assert not value.strip().startswith('"') or isinstance(json.loads(value), str)
    assert {"  - doi:", "  - swh:", "    orcid:"} <= set(lines)


def test_a_reader_of_yaml_reads_it():
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load(rescience(replace(PRESET, title='x: "y" # z\n- {é}'), LEDGER))
    assert found["authors"] == [{"name": "swdb contributors", "orcid": None, "email": None, "affiliations": "1,*"}]
    assert found["type"] == "Replication" and 'x: "y" # z\n- {é}' in found["abstract"]
    assert [next(iter(part)) for part in found["replication"]] == ["cite", "bib", "url", "doi"]
    assert {"title", "affiliations", "keywords", "code", "data", "bibliography", "domain", "language", "journal"} < set(
        found
    )
