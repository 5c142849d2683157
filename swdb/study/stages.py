"""All kinds of artefacts, each with the stage that plans and makes it. A new kind is a stage and an entry here."""

from swdb.core.stage import Stage
from swdb.data.stages import DataStage
from swdb.evaluation.stages import LabStage, PeekStage, RecognitionStage, ScoreStage
from swdb.methods.stages import RecognizerStage, RunStage
from swdb.nn.stages import ClassifierStage, HeadWeightsStage, WeightsStage
from swdb.proxy.stages import CuesStage, DsrgScoreStage, ProxiesStage, QualityStage
from swdb.reports.stages import TableStage

DATA, WEIGHTS, HEADS, CLASSIFIER, CUES = DataStage(), WeightsStage(), HeadWeightsStage(), ClassifierStage(), CuesStage()
RECOGNIZER, RECOGNITION = RecognizerStage(), RecognitionStage()
PROXIES, QUALITY, DSRG_SCORE, RUN, SCORE, LAB, PEEK, TABLE = (
    ProxiesStage(), QualityStage(), DsrgScoreStage(), RunStage(), ScoreStage(), LabStage(), PeekStage(), TableStage(),
)  # fmt: skip

STAGES: dict[str, Stage] = {
    stage.kind: stage
    for stage in (
        DATA, WEIGHTS, HEADS, CLASSIFIER, CUES, PROXIES, QUALITY, DSRG_SCORE, RECOGNIZER, RUN, SCORE, RECOGNITION, LAB,
        PEEK, TABLE,
    )
}  # fmt: skip
