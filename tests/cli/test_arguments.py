"""What is typed becomes values, or one error that names the option and the nearest known word."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import TINY

from swdb.cli import arguments
from swdb.core.errors import BadInput
from swdb.specs.presets import load_preset
from swdb.study.plan import Work

VOC = load_preset("voc")


@pytest.fixture(scope="module")
def work() -> Work:
    return Work(Path("work"), load_preset(TINY), "fp32")


# ---------------------------------------------------------------- words and numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, ()), ("", ()), ("cat", ("cat",)), ("cat, cow ,dog", ("cat", "cow", "dog")), (" , cat,,", ("cat",))],
)
def test_words_are_parted_by_commas_and_blanks_around_them_do_not_count(text, expected):
    assert arguments.words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("1", (1.0,)), ("0.75,1,1.25", (0.75, 1.0, 1.25)), ("0.1, 4", (0.1, 4.0))]
)
def test_scales_are_read_in_their_order(text, expected):
    assert arguments.scales(text) == expected


@pytest.mark.parametrize("text", ["", "big", "1,", "1;2", "1,,2"])
def test_scales_that_are_no_numbers_are_refused(text):
    with pytest.raises(BadInput, match=r"^--scales .*: expected numbers, as in 0.75,1,1.25$"):
        arguments.scales(text)


@pytest.mark.parametrize("text", ["0", "0.09", "4.01", "-1", "1,5", "nan", "inf"])
def test_scales_that_no_picture_can_take_are_refused(text):
    with pytest.raises(BadInput, match=r"^--scales .*: expected factors of 0.1 to 4$"):
        arguments.scales(text)


# ---------------------------------------------------------------- runs, tables, rows


@pytest.mark.parametrize(
    ("run", "seed", "expected"),
    [
        ("dual", None, ("dual", 0)),
        ("dual", 2, ("dual", 2)),
        ("dual-s0", None, ("dual", 0)),
        ("dual-s12", None, ("dual", 12)),
        ("dual-s2", 2, ("dual", 2)),
        ("mixed-x6-s1", None, ("mixed-x6", 1)),
        ("dual-sX", None, ("dual-sX", 0)),  # whoever looks the run up refuses it
    ],
)
def test_a_run_may_carry_its_seed(work, run, seed, expected):
    assert arguments.run_and_seed(work, run, seed) == expected


def test_every_run_is_read_as_plans_show_it(work):
    for name in work.recipes:
        assert arguments.run_and_seed(work, name, None) == (name, 0)
        assert arguments.run_and_seed(work, f"{name}-s3", None) == (name, 3)


def test_two_seeds_that_disagree_are_refused(work):
    with pytest.raises(BadInput, match=r"^dual-s1 names seed 1, --seed says 2; expected one of them$"):
        arguments.run_and_seed(work, "dual-s1", 2)


def test_tables_are_chosen_by_number_or_all(work):
    assert [table.number for table in arguments.chosen_tables(work, "3")] == [3]
    assert [table.number for table in arguments.chosen_tables(work, "all")] == [1, 2, 3, 4]


@pytest.mark.parametrize("number", ["5", "0", "", "one", "1,2", "ALL"])
def test_an_unknown_table_is_refused(work, number):
    with pytest.raises(BadInput, match=r"^unknown table '.*'; expected 1, 2, 3, 4, all$"):
        arguments.chosen_tables(work, number)


def test_all_rows_are_chosen_where_none_is_named(work):
    tables = arguments.chosen_tables(work, "all")
    chosen = arguments.chosen_rows(tables, None)
    assert [row for _, row in chosen] == [row for table in tables for row in table.rows]
    assert all(row in table.rows for table, row in chosen)


def test_rows_are_chosen_by_key_in_the_table_s_order(work):
    (table,) = arguments.chosen_tables(work, "1")
    first, *_, last = (row.key for row in table.rows)
    assert [row.key for _, row in arguments.chosen_rows([table], f"{last}, {first}")] == [first, last]


def test_an_unknown_row_gets_the_nearest(work):
    (table,) = arguments.chosen_tables(work, "1")
    key = table.rows[0].key
    with pytest.raises(BadInput, match=rf"^--rows: unknown row '{key}x'; did you mean '{key}'\?$"):
        arguments.chosen_rows([table], f"{key},{key}x")


# ---------------------------------------------------------------- a part of the photographs


def part(name=None, classes=None, require=None, available_only=False, preset=VOC):
    return arguments.subset(preset, name, classes, require, available_only)


def test_a_part_has_its_own_name_its_classes_and_numbers_to_be_counted():
    found = part("animals", "cat, cow", "cow", True)
    assert (found.name, found.data.name, found.comparable) == ("animals", "animals", False)
    assert (found.data.classes, found.data.num_classes, found.data.require) == (("cat", "cow"), 3, ("cow",))
    assert found.data.available_only
    assert (found.data.num_strong, found.data.num_train, found.data.num_val) == (0, 0, 0)


def test_a_part_keeps_all_else_of_the_preset():
    found = part("animals", "cat,cow")
    data = {name: getattr(VOC.data, name) for name in ("dataset", "seed", "image_size", "holdout")}
    assert {name: getattr(found.data, name) for name in data} == data
    same = ("seeds", "network", "training", "proxy", "evaluation")
    assert all(getattr(found, name) == getattr(VOC, name) for name in same)


def test_a_part_of_all_classes_has_all_of_them():
    found = part(available_only=True)
    assert (found.name, found.data.classes, found.data.num_classes) == ("voc-part", (), 21)


def test_the_order_of_the_classes_is_the_user_s():
    assert part(classes="dog,cat").data.classes == ("dog", "cat")


def test_names_that_are_made_tell_parts_apart():
    parts = [
        part(classes="cat"),
        part(classes="cat,dog"),
        part(classes="cat,dog", require="dog"),
        part(require="dog"),
        part(require="cat,dog"),
        part(classes="cat", available_only=True),
        part(require="dog", available_only=True),
        part(available_only=True),
    ]
    assert len({found.name for found in parts}) == len(parts)
    assert parts[1].name == "voc-cat-dog"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "cta"}, "--classes: unknown class 'cta'; did you mean 'cat'?"),
        ({"classes": "cat,hourse"}, "--classes: unknown class 'hourse'; did you mean 'horse'?"),
        ({"classes": "background"}, "--classes: unknown class 'background'; known: aeroplane, bicycle"),
        ({"classes": "cat", "require": "dog"}, "--require: unknown class 'dog'; known: cat"),
        ({"require": "shep"}, "--require: unknown class 'shep'; did you mean 'sheep'?"),
        ({"classes": "cat,dog,cat"}, "--classes: cat is named twice; expected every class once"),
        ({"classes": "cat", "require": "cat,cat"}, "--require: cat is named twice; expected every class once"),
        ({"name": "voc"}, "--name voc: expected a folder's name other than 'voc'"),
        ({"name": "a/b"}, "--name a/b: expected a folder's name"),
        ({"name": "..", "classes": "cat"}, "--name ..: expected a folder's name"),
        ({"name": ".cats", "classes": "cat"}, "--name .cats: expected a folder's name"),
    ],
)
def test_what_is_no_part_is_refused_with_the_option_and_the_nearest_word(options, message):
    with pytest.raises(BadInput) as caught:
        part(**options)
    assert str(caught.value).startswith(message)


def test_a_drawn_data_set_has_no_parts():
    with pytest.raises(BadInput, match=r"go with photographs, but preset 'tiny' is drawn; expected --preset voc$"):
        part("x", "cat", preset=load_preset(TINY))


def test_a_part_of_a_part_keeps_what_is_not_named_anew():
    first = part("first", "cat,dog,cow", "cat,dog", True)
    second = part("second", preset=first)
    assert second.data == replace(first.data, name="second")
    third = part("third", require="cow", preset=first)
    assert (third.data.classes, third.data.require) == (("cat", "dog", "cow"), ("cow",))


def test_other_classes_drop_the_requirement_that_went_with_the_first_ones():
    first = part("first", "cat,dog,cow", "cat,dog", True)
    other = part("other", "sheep", preset=first)
    assert (other.data.classes, other.data.require, other.data.available_only) == (("sheep",), (), True)
