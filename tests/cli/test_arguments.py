"""What is typed becomes values, or one error that names the option and the nearest known word."""

from dataclasses import replace

import pytest
from conftest import TINY

from swdb.cli import arguments
from swdb.core.errors import BadInput
from swdb.specs.presets import load_preset
from swdb.specs.tables import all_runs, load_tables

VOC = load_preset("voc")
TABLES = load_tables()
RUNS = all_runs(TABLES)


def refused(function, *values, **options) -> BadInput:
    with pytest.raises(BadInput) as caught:
        function(*values, **options)
    return caught.value


# ---------------------------------------------------------------- words and numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, ()), ("", ()), ("cat", ("cat",)), ("cat, cow ,dog", ("cat", "cow", "dog")), (" , cat,,", ("cat",))],
)
def test_words_are_separated_by_commas_and_blanks_around_them_do_not_count(text, expected):
    assert arguments.words(text) == expected


@pytest.mark.parametrize("text", [None, "fp32", "bf16"])
def test_a_precision_is_read(text):
    assert arguments.precision(text) == text


@pytest.mark.parametrize(("text", "near"), [("fp16", "bf16"), ("FP32", "fp32"), ("auto", "")])
def test_an_unknown_precision_is_refused(text, near):
    error = refused(arguments.precision, text)
    assert error.subject == f"--precision {text!r}" and error.near == near
    assert near or error.expected == "bf16, fp32"


@pytest.mark.parametrize(
    ("text", "expected"), [("1", (1.0,)), ("0.75,1,1.25", (0.75, 1.0, 1.25)), ("0.1, 4", (0.1, 4.0))]
)
def test_scales_are_read_in_their_order(text, expected):
    assert arguments.scales(text) == expected


@pytest.mark.parametrize("text", ["", "big", "1,", "1;2", "1,,2"])
def test_scales_that_are_not_numbers_are_refused(text):
    error = refused(arguments.scales, text)
    assert error.subject == f"--scales {text}" and "0.75,1,1.25" in error.expected


@pytest.mark.parametrize("text", ["0", "0.09", "4.01", "-1", "1,5", "nan", "inf"])
def test_scales_that_no_image_can_take_are_refused(text):
    error = refused(arguments.scales, text)
    assert error.subject == f"--scales {text}" and "0.1 to 4" in error.expected


def test_the_name_of_a_crf_is_read():
    assert arguments.crf(None) is None
    assert arguments.crf("dsrg") == "dsrg"
    assert refused(arguments.crf, "dsgr").near == "dsrg"


# ---------------------------------------------------------------- runs, branches, tables, rows


@pytest.mark.parametrize(
    ("run", "seed", "expected"),
    [
        ("dual", None, ("dual", 0)),
        ("dual", 2, ("dual", 2)),
        ("dual-s0", None, ("dual", 0)),
        ("dual-s12", None, ("dual", 12)),
        ("dual-s2", 2, ("dual", 2)),
        ("mixed-x6-s1", None, ("mixed-x6", 1)),
    ],
)
def test_a_run_may_carry_its_seed(run, seed, expected):
    spec, number = arguments.run_and_seed(RUNS, run, seed)
    assert (spec.name, number) == expected and spec is RUNS[spec.name]


def test_every_run_is_read_as_plans_show_it():
    for name in RUNS:
        assert arguments.run_and_seed(RUNS, name, None) == (RUNS[name], 0)
        assert arguments.run_and_seed(RUNS, f"{name}-s3", None) == (RUNS[name], 3)


def test_a_run_that_is_called_like_a_seed_is_that_run():
    runs = {"dual-s1": RUNS["dual"], "dual": RUNS["strong"]}
    assert arguments.run_and_seed(runs, "dual-s1", 4) == (RUNS["dual"], 4)


@pytest.mark.parametrize("run", ["dual-sX", "dual-s", "dual-s-1", "dul", "dul-s1"])
def test_an_unknown_run_gets_the_nearest(run):
    assert refused(arguments.run_and_seed, RUNS, run, None).near.startswith("dual")


def test_a_run_that_nothing_is_like_gets_all_that_there_are():
    assert refused(arguments.run_and_seed, RUNS, "xyz", None).expected == ", ".join(sorted(RUNS))


@pytest.mark.parametrize(
    ("text", "seed", "names", "number"),
    [
        ("dual", None, ("dual",), 0),
        ("dual-s2", None, ("dual",), 2),
        ("strong+mixed", None, ("strong", "mixed"), 0),
        ("strong+mixed", 3, ("strong", "mixed"), 3),
        ("strong-s1+mixed-s1", None, ("strong", "mixed"), 1),
        ("strong-s1 + all-strong", 1, ("strong", "all-strong"), 1),
        ("decoupled-5+dual-5+strong", None, ("decoupled-5", "dual-5", "strong"), 0),
    ],
)
def test_runs_with_a_plus_between_them_are_averaged(text, seed, names, number):
    source, found = arguments.source_and_seed(RUNS, text, seed, "strong")
    assert ([run.name for run in source.runs], source.branch, found) == ([*names], "strong", number)


@pytest.mark.parametrize(
    ("text", "branch", "found"),
    [
        ("strong+strong", "strong", "named twice"),
        ("strong-s0+mixed-s1", "strong", "seeds 0, 1"),
        ("dual+strong", "weak", "'strong' has no such branch"),
        ("dual+", "strong", "unknown"),
        ("+", "strong", "unknown"),
    ],
)
def test_what_cannot_be_averaged_is_refused(text, branch, found):
    assert found in refused(arguments.source_and_seed, RUNS, text, None, branch).found


def test_an_average_is_no_run():
    assert "average" in refused(arguments.run_and_seed, RUNS, "strong+mixed", None).found


def test_two_seeds_that_disagree_are_refused():
    error = refused(arguments.run_and_seed, RUNS, "dual-s1", 2)
    assert "dual-s1" in error.subject and "--seed 2" in error.found and "seed 1" in error.found


def test_a_branch_is_one_that_the_run_has():
    assert arguments.branch("weak", RUNS["dual"]) == "weak"
    assert arguments.branch("strong", RUNS["strong"]) == "strong"
    lacking = refused(arguments.branch, "weak", RUNS["strong"])
    assert lacking.subject == "--branch weak" and "'strong'" in lacking.found and lacking.expected == "strong"
    assert refused(arguments.branch, "stron", RUNS["dual"]).near == "strong"


def test_tables_are_chosen_by_number_or_all():
    assert [table.number for table in arguments.chosen_tables(TABLES, "3")] == [3]
    assert [table.number for table in arguments.chosen_tables(TABLES, "all")] == [1, 2, 3, 4]


@pytest.mark.parametrize("number", ["5", "0", "", "one", "1,2", "ALL"])
def test_an_unknown_table_is_refused(number):
    error = refused(arguments.chosen_tables, TABLES, number)
    assert error.subject == f"table {number!r}" and error.expected == "1, 2, 3, 4, all"


def test_all_rows_are_chosen_where_none_is_named():
    chosen = arguments.chosen_rows([*TABLES.values()], None)
    assert [row for _, row in chosen] == [row for table in TABLES.values() for row in table.rows]
    assert all(row in table.rows for table, row in chosen)


def test_rows_are_chosen_by_key_in_the_table_s_order():
    first, *_, last = (row.key for row in TABLES[1].rows)
    assert [row.key for _, row in arguments.chosen_rows([TABLES[1]], f"{last}, {first}")] == [first, last]


def test_an_unknown_row_gets_the_nearest():
    key = TABLES[1].rows[0].key
    error = refused(arguments.chosen_rows, [TABLES[1]], f"{key},{key}x")
    assert error.subject == f"--rows: row '{key}x'" and error.near == key


# ---------------------------------------------------------------- a part of the real images


def part(name=None, classes=None, require=None, available_only=False, preset=VOC):
    return arguments.part_of(preset, name, classes, require, available_only)


def test_a_part_has_its_own_name_its_classes_and_numbers_to_be_counted():
    found = part("animals", "cat, cow", "cow", True)
    assert (found.name, found.data.name, found.comparable) == ("animals", "animals", False)
    assert (found.data.classes, found.data.num_classes, found.data.require) == (("cat", "cow"), 3, ("cow",))
    assert found.data.available_only
    assert (found.data.num_strong, found.data.num_train, found.data.num_val) == (0, 0, 0)


def test_a_part_keeps_everything_else_of_the_preset():
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
    ("options", "subject", "near"),
    [
        ({"classes": "cta"}, "--classes: class 'cta'", "cat"),
        ({"classes": "cat,hourse"}, "--classes: class 'hourse'", "horse"),
        ({"classes": "background"}, "--classes: class 'background'", ""),
        ({"classes": "cat", "require": "dog"}, "--require: class 'dog'", ""),
        ({"require": "shep"}, "--require: class 'shep'", "sheep"),
    ],
)
def test_an_unknown_class_gets_the_nearest(options, subject, near):
    error = refused(part, **options)
    assert (error.subject, error.near) == (subject, near)
    assert near or "background" not in error.expected


def test_a_required_class_is_one_that_is_kept():
    assert refused(part, classes="cat", require="dog").expected == "cat"


@pytest.mark.parametrize("options", [{"classes": "cat,dog,cat"}, {"classes": "cat", "require": "cat,cat"}])
def test_a_class_named_twice_is_refused(options):
    error = refused(part, **options)
    assert error.subject == f"--{[*options][-1]}" and "cat" in error.found


@pytest.mark.parametrize(("name", "classes"), [("voc", None), ("a/b", None), ("..", "cat"), (".cats", "cat")])
def test_a_name_that_is_not_a_folder_s_is_refused(name, classes):
    assert refused(part, name, classes).subject == f"--name {name}"


def test_a_synthetic_data_set_has_no_parts():
    error = refused(part, "x", "cat", preset=load_preset(TINY))
    assert "'tiny'" in error.found and "--classes" in error.subject and "--preset voc" in error.expected


def test_a_part_of_a_part_keeps_what_is_not_named_again():
    first = part("first", "cat,dog,cow", "cat,dog", True)
    second = part("second", preset=first)
    assert second.data == replace(first.data, name="second")
    third = part("third", require="cow", preset=first)
    assert (third.data.classes, third.data.require) == (("cat", "dog", "cow"), ("cow",))


def test_other_classes_drop_the_requirement_that_went_with_the_first_ones():
    first = part("first", "cat,dog,cow", "cat,dog", True)
    other = part("other", "sheep", preset=first)
    assert (other.data.classes, other.data.require, other.data.available_only) == (("sheep",), (), True)


@pytest.mark.parametrize("name", ["../x", "a/b", ".x", "-x", "a\nb", "x" * 300, "\udcff"], ids=repr)
def test_a_part_s_name_is_one_component_of_a_path(name):
    with pytest.raises(BadInput) as caught:
        arguments.part_of(load_preset("voc"), name, None, None, True)
    assert caught.value.subject == f"--name {name}" and caught.value.expected.startswith("a plain name")


def test_numbers_that_are_too_large_are_refused_by_option():
    runs = all_runs(load_tables())
    for run, seed, subject in (("dual", 10**9, "--seed"), ("dual-s" + "9" * 40, None, "run ")):
        with pytest.raises(BadInput) as caught:
            arguments.run_and_seed(runs, run, seed)
        assert caught.value.subject.startswith(subject)
    with pytest.raises(BadInput):
        arguments.seeds(10**6, load_preset("synthetic"))
    with pytest.raises(BadInput):
        arguments.scales(",".join(["1"] * 100))


def test_a_format_is_known_or_rich():
    assert arguments.form("rich", ["md"]) is None and arguments.form("md", ["md"]) is None
    with pytest.raises(BadInput) as caught:
        arguments.form("mf", ["md"])
    assert caught.value.subject == "--format 'mf'" and caught.value.near == "md"


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, None), ("90m", 5400), ("12h", 43200), ("1.5h", 5400), ("3d", 259_200), ("45s", 45)]
)
def test_a_time_is_a_number_and_its_unit(text, seconds):
    assert arguments.duration("--budget", text) == seconds


@pytest.mark.parametrize("text", ["", "12", "h", "-3h", "0m", "3 h", "1e3h", "3w", "9" * 30 + "h", "٣h", "12h\n"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(BadInput) as caught:
        arguments.duration("--budget", text)
    assert caught.value.subject == f"--budget {text}" and "12h" in caught.value.expected
