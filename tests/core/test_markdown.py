"""Tables as Markdown: words on the left, numbers on the right, and nothing in a cell that ends it."""

import re

import pytest

from swdb.core.markdown import escaped, markdown_table


def test_a_table_has_a_header_a_ruler_and_a_line_for_each_row():
    lines = markdown_table(["class", "pixels", "IoU"], [["cat", 1234567, 61.25], ["dog", 0, None]])
    assert lines == [
        "| class | pixels | IoU |",
        "| --- | ---: | ---: |",
        "| cat | 1,234,567 | 61.2 |",
        "| dog | 0 | – |",
    ]


@pytest.mark.parametrize(
    ("words", "ruler"), [(0, "| ---: | ---: |"), (1, "| --- | ---: |"), (2, "| --- | --- |"), (5, "| --- | --- |")]
)
def test_the_first_columns_hold_words(words, ruler):
    assert markdown_table(["a", "b"], [], words) == ["| a | b |", ruler]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (72.25, "72.2"), (100.0, "100.0"), (1464, "1,464"), (-1464, "-1,464"), (True, "True"), ("0", "0")],
)
def test_a_value_is_shown_by_its_kind(value, shown):
    assert markdown_table(["x"], [[value]])[-1] == f"| {shown} |"


@pytest.mark.parametrize("text", ["a|b", "||", "*dual*", "**", "1.4k*2 strong | 9k weak", "plain"])
def test_escaped_text_stays_in_its_cell_and_is_not_emphasised(text):
    found = escaped(text)
    assert not re.search(r"(?<!\\)[|*]", found)
    assert found.replace("\\", "") == text
