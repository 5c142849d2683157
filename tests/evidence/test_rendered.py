"""Tables and ledger of a study as texts."""

from swdb.evidence.rendered import rendered
from swdb.specs.tables import load_tables
from swdb.study.plan import read_plan


def test_chosen_tables_are_rendered_in_all_forms_and_the_ledger_is_of_all(study):
    found = rendered(study.study, read_plan(study.study), load_tables(), [2])
    assert found.files.keys() == {"settings.md", "table2.md", "table2.csv", "table2.json"}
    assert "over seeds 0, 1" in found.files["table2.md"] and "Made-up 9000" in found.files["table2.md"]
    tables = load_tables()
    assert {one["claim"]["key"] for one in found.ledger["claims"]} == {
        one.key for table in tables.values() for one in table.claims
    }
