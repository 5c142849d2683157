"""The conditions of the regime: read from cells that there are, with thresholds that fit what is printed."""

import json
import re

from swdb.specs.regime import ALL_STRONG, COMPARED, CONDITIONS, STRONG, WEAK, content
from swdb.specs.tables import load_tables, measured_cells, printed_values

TABLES = load_tables()
PRINTED = printed_values(TABLES)


def test_the_cells_are_those_of_the_tables_and_printed():
    cells = {cell for one in CONDITIONS for cell in one.cells}
    assert cells == {WEAK, STRONG, ALL_STRONG}
    assert {*cells, *COMPARED} <= measured_cells(TABLES).keys() & PRINTED.keys()


def test_the_thresholds_are_what_was_fixed():
    assert {one.key: (one.points, one.within) for one in CONDITIONS} == {
        "strong-above-weak": (6.0, False),
        "all-strong-above-strong": (2.5, False),
        "weak-near-proxies": (8.0, True),
    }
    assert all(f"{one.points:g} points" in one.text for one in CONDITIONS)


def test_the_paper_itself_is_in_its_regime():
    for one in CONDITIONS:
        if one.lower:
            assert round(PRINTED[one.higher] - PRINTED[one.lower], 6) >= one.points


def test_a_source_names_the_printed_values():
    for one in CONDITIONS:
        numbers = [float(number) for number in re.findall(r"\d+\.\d", one.source)]
        printed = [PRINTED[one.higher], *([PRINTED[one.lower]] if one.lower else [])]
        assert numbers[: len(printed)] == printed
        if one.lower:
            assert numbers[2] == round(printed[0] - printed[1], 6)


def test_no_condition_is_a_claim():
    claims = {claim.key for table in TABLES.values() for claim in table.claims}
    assert claims.isdisjoint(one.key for one in CONDITIONS)


def test_the_content_is_json_by_key():
    assert json.loads(json.dumps(content())) == content() and list(content()) == [one.key for one in CONDITIONS]
    assert content()["strong-above-weak"]["points"] == 6.0
