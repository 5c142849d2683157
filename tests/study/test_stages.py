"""The table of stages: one for each kind of artefact, light enough to plan with."""

import subprocess
import sys

import pytest
from studies import graph_of

from swdb.core.artefact import FOLDERS
from swdb.core.stage import ChecksEarly
from swdb.reports.ledger import ledger_of
from swdb.reports.results import measure
from swdb.specs.tables import load_tables
from swdb.study.plan import make_plan
from swdb.study.stages import STAGES, TABLE


def test_a_stage_stands_under_its_own_kind():
    assert {kind: stage.kind for kind, stage in STAGES.items()} == {kind: kind for kind in STAGES}
    assert len(STAGES) == 15


def test_every_stage_s_folder_is_known_to_hints_and_to_importers():
    assert {stage.folder for stage in STAGES.values()} == {*FOLDERS, "data", "reports"}


def test_every_kind_that_is_planned_has_a_stage(tmp_path):
    graph = graph_of(tmp_path)
    table = load_tables()[1]
    plan = make_plan(graph, [(table, row) for row in table.rows], [0])
    ledger = ledger_of([measure(table, graph.runs, plan.cells(1))], graph.study.preset)
    shown = TABLE.artefact(graph.study, table, graph.runs, plan.cells(1), ledger)
    assert {artefact.kind for artefact in [*graph.everything([0]), shown]} == STAGES.keys() - {"head-weights"}


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_can_make_and_says_where_its_artefacts_lie(kind):
    stage = STAGES[kind]
    assert callable(stage.make) and callable(stage.artefact)
    assert type(stage.version) is int and stage.version >= 1
    assert stage.folder and "/" not in stage.folder


def test_only_artefacts_that_share_a_folder_have_the_same_folder():
    folders = [
        stage.folder for kind, stage in STAGES.items() if kind not in ("dsrg-score", "quality", "recognition", "lab")
    ]
    assert len(set(folders)) == len(folders)
    assert STAGES["quality"].folder == STAGES["proxies"].folder  # the report lies beside the masks
    assert STAGES["dsrg-score"].folder == STAGES["proxies"].folder  # and what their network scores
    assert STAGES["lab"].folder == STAGES["run"].folder  # and what a run scores otherwise beside its scores
    assert STAGES["recognition"].folder == STAGES["run"].folder  # with what was found there


def test_what_depends_on_named_files_is_looked_at_early():
    assert {kind for kind, stage in STAGES.items() if isinstance(stage, ChecksEarly)} == {
        "weights",
        "classifier",
        "cues",
        "recognizer",
        "run",
    }


def test_stages_load_no_torch():
    code = "import sys; from swdb.study.stages import STAGES; print(len(STAGES), 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "15 False\n"
