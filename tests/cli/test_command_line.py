"""The command line as typed, and others proposed from it, which lead back to the same study."""

import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from swdb.cli.app import app
from swdb.cli.command_line import CommandLine


def line(text: str) -> CommandLine:
    return CommandLine(tuple(shlex.split(text)))


# ---------------------------------------------------------------- what was typed


@pytest.mark.parametrize(
    ("text", "verb"), [("train dual --seed 1", "train"), ("", ""), ("--help", ""), ("--version make", "make")]
)
def test_the_verb_is_the_first_word_that_is_not_an_option(text, verb):
    assert line(text).verb == verb


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("prepare-voc --name '' --voc a", "--name"),
        ("eval dual --flip --scales=", "--scales"),
        ("bundle --output ''", "--output"),
        ("train '' --seed 1", None),
        ("train dual --seed", None),
        ("train dual --preset=a=", None),
    ],
)
def test_an_option_that_was_given_nothing_is_found(text, name):
    assert line(text).empty_option == name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train dual --seed 1", "1"),
        ("train dual --seed=1", "1"),
        ("train dual --seed=1 --seed 2", "2"),
        ("train dual --seed 2 --seed=1", "1"),
        ("train dual --seed=a=b", "a=b"),
        ("train dual --seed", ""),
        ("train dual", None),
        ("train dual --seeds 1", None),
        ("train seed 1", None),
    ],
)
def test_an_options_value_is_the_last_that_was_typed(text, value):
    assert line(text).option("seed") == value


@pytest.mark.parametrize(
    ("text", "preset", "workdir"),
    [
        ("train dual", "synthetic", "work"),
        ("train dual --preset voc --workdir here", "voc", "here"),
        ("prepare-voc --dataset voc --workdir=my/place", "voc", "my/place"),
    ],
)
def test_preset_and_work_directory_have_the_commands_defaults(text, preset, workdir):
    assert (line(text).preset, line(text).workdir) == (preset, Path(workdir))


def test_a_line_is_shown_as_a_shell_would_read_it():
    words = ("train", "dual", "--workdir", "my work", "--weights", "it's.pth")
    shown = str(CommandLine(words))
    assert shown.startswith("swdb train dual ")
    assert tuple(shlex.split(shown)[1:]) == words


# ---------------------------------------------------------------- what is proposed


def test_the_same_command_again_has_each_further_word_once():
    typed = line("prepare-voc --preset voc --again")
    assert typed.again() == "swdb prepare-voc --preset voc --again"
    assert typed.again("--again", "--download") == "swdb prepare-voc --preset voc --again --download"


def test_another_command_has_the_preset_and_the_work_directory_where_it_is_not_the_usual_one():
    assert line("train dual --seed 3 --device cpu").other("eval", "dual") == "swdb eval dual --preset synthetic"
    typed = line("train dual --preset mine.toml --workdir here")
    assert typed.other("eval", "dual", "--flip") == "swdb eval dual --flip --preset mine.toml --workdir here"
    assert typed.other("eval", "dual", preset="part.toml").endswith("--preset part.toml --workdir here")


def test_another_command_has_the_options_that_decide_what_a_study_is():
    typed = line("train dual --precision fp32 --weights a.pth --cues=b.npz")
    assert typed.other("eval", "dual").endswith("--precision fp32 --weights a.pth --cues b.npz")


def test_files_that_a_work_directory_keeps_are_not_named_again():
    typed = line("train dual --weights a.pth --cues b.npz --precision bf16")
    assert typed.other("eval", "dual", kept=("weights",)).endswith("--precision bf16 --cues b.npz")
    assert typed.other("eval", "dual", kept=("weights", "cues")).endswith("--precision bf16")


@pytest.mark.parametrize("verb", sorted({*get_command(app).commands} - {"assumptions", "merge", "rescore"}))
def test_what_is_proposed_has_only_options_that_the_command_takes(verb):
    typed = line(
        "train dual --workdir here --precision bf16 --weights a.pth --preprocessing caffe --cues b.npz --proxy-seeds"
    )
    takes = {option for parameter in get_command(app).commands[verb].params for option in parameter.opts}
    proposed = {word for word in shlex.split(typed.other(verb)) if word.startswith("--")}
    assert {"--preset", "--workdir"} <= proposed <= takes
    decides = {f"--{name}" for name in ("precision", "weights", "preprocessing", "cues")}
    assert takes & decides - proposed == set()


def test_preparing_a_data_set_hangs_on_no_precision_and_no_files():
    typed = line("train dual --precision fp32 --weights a.pth --workdir here")
    assert typed.other("prepare-voc", "--again") == "swdb prepare-voc --again --preset synthetic --workdir here"


def test_blanks_in_what_is_proposed_are_quoted():
    typed = line("train dual --preset 'my preset.toml' --workdir 'my work'")
    assert shlex.split(typed.other("eval", "dual"))[3:] == ["--preset", "my preset.toml", "--workdir", "my work"]
    assert shlex.split(typed.again())[1:] == list(typed.words)


def test_the_preprocessing_follows_the_weights_that_have_to_be_named_again():
    typed = line("train dual --weights a.pth --preprocessing caffe")
    assert typed.other("eval", "dual").endswith("--weights a.pth --preprocessing caffe")
    assert "--preprocessing" not in typed.other("eval", "dual", kept=("weights",))
