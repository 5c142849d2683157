"""All kinds of artefacts, each with the stage that plans and makes it. A new kind is a stage and an entry here."""

from swdb.core.stage import Stage
from swdb.data.stages import DataStage
from swdb.evaluation.stages import LabStage, PeekStage, ScoreStage
from swdb.methods.stages import RunStage
from swdb.nn.stages import ClassifierStage, HeadWeightsStage, WeightsStage
from swdb.proxy.stages import CuesStage, DsrgScoreStage, ProxiesStage, QualityStage
from swdb.reports.stages import TableStage

DATA, WEIGHTS, HEADS, CLASSIFIER, CUES = DataStage(), WeightsStage(), HeadWeightsStage(), ClassifierStage(), CuesStage()
PROXIES, DSRG_SCORE, QUALITY, RUN, SCORE, LAB, PEEK, TABLE = (
    ProxiesStage(), DsrgScoreStage(), QualityStage(), RunStage(), ScoreStage(), LabStage(), PeekStage(), TableStage(),
)  # fmt: skip

STAGES: dict[str, Stage] = {
    stage.kind: stage
    for stage in (DATA, WEIGHTS, HEADS, CLASSIFIER, CUES, PROXIES, DSRG_SCORE, QUALITY, RUN, SCORE, LAB, PEEK, TABLE)
}
