"""Which kinds of data sets there are. A new one is a file of facts, an importer, and an entry here and in `prepare.py`."""

from swdb.core.errors import BadInput, unknown
from swdb.data.facts import Facts
from swdb.data.synthetic import SCENES
from swdb.data.voc import VOC2012
from swdb.specs.presets import Data, Preset

KINDS: dict[str, Facts] = {facts.kind: facts for facts in (SCENES, VOC2012)}


def facts_of(settings: Data) -> Facts:
    """Return the facts of a preset's data set; raises BadInput with the known kind that was probably meant."""
    if settings.dataset not in KINDS:
        raise unknown("key 'dataset', data set", settings.dataset, KINDS)
    return KINDS[settings.dataset]


def check_settings(preset: Preset) -> None:
    """Refuse settings that the preset's data set cannot have; raises BadInput that names preset and key."""
    where = f"preset {preset.name}"
    if preset.data.dataset not in KINDS:
        raise unknown(f"{where}, key 'data.dataset'", preset.data.dataset, KINDS)
    facts = facts_of(preset.data)
    for fault in facts.faults(preset.data):
        raise BadInput(f"{where}, key 'data.{fault.key}'", fault.found, fault.expected, fault.near)
    if preset.network.weights == "pretext" and not facts.synthetic:
        raise BadInput(
            f"{where}, key 'network.weights'", "found 'pretext'", "other weights: a pretext needs synthetic scenes"
        )
