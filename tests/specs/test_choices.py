"""Choices: each stands once, and its place is there."""

import re

from conftest import REPOSITORY

from swdb.specs.choices import CHOICES
from swdb.specs.presets import load_preset
from swdb.specs.register import register


def test_keys_are_unique_and_no_settings():
    keys = [one.key for one in CHOICES]
    assert len(set(keys)) == len(keys) >= 15
    assert not set(keys) & {row.key for row in register(load_preset("voc")) if row.is_setting}
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", key) for key in keys)


def test_every_place_is_there():
    options = (REPOSITORY / "swdb/cli/options.py").read_text()
    settings = {row.key for row in register(load_preset("voc")) if row.is_setting}
    for one in CHOICES:
        for place in one.place.split("; "):
            path, _, name = place.partition(", ")
            if "/" in path:
                path = path.split(" in ")[-1]
                assert (REPOSITORY / path).exists(), place
                assert not name or f"def {name}(" in (REPOSITORY / path).read_text(), place
            elif path.startswith("--"):
                assert f'"{path.split()[0]}"' in options, place
            else:
                assert path in settings, place


def test_choices_are_told_in_one_place_alone():
    pages = (REPOSITORY / "docs/choices.md").read_text() + (REPOSITORY / "README.md").read_text()
    assert not [one.key for one in CHOICES if one.text in pages]
