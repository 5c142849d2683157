"""DSRG's settings: what was added later leaves older ids alone, and says that the paper is silent on it."""

from dataclasses import fields

from swdb.specs.dsrg import Dsrg
from swdb.specs.presets import load_preset, preset_names
from swdb.specs.settings import INFERRED, UNKNOWN, fingerprint


def test_every_setting_says_its_unit_and_its_file_and_is_inferred_where_we_do_as_the_public_code():
    for one in fields(Dsrg):
        assert one.metadata["unit"] and one.metadata["why"], one.name
        assert one.metadata["status"] == (UNKNOWN if one.name == "crf_gradient" else INFERRED), one.name


def test_the_gradient_through_the_crf_enters_fingerprints_only_where_it_is_sent():
    for name in preset_names():
        dsrg = load_preset(name).dsrg
        assert not dsrg.crf_gradient and "crf_gradient" not in fingerprint(dsrg)
