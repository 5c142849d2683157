"""What a study is made of: which artefact is made from which others, known before anything is there and without torch.

in: a study and the runs of the tables -> out: planned artefacts, each with its inputs
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from swdb.core.artefact import Artefact, with_inputs
from swdb.core.errors import unknown
from swdb.specs.changes import changed
from swdb.specs.methods import METHODS, check_backbone
from swdb.specs.runs import RunSpec
from swdb.specs.study import Study
from swdb.specs.tables import CellSource, load_tables, printed_by_source
from swdb.specs.tasks import Scoring
from swdb.specs.toml import Pairs
from swdb.study.stages import (
    CLASSIFIER,
    CUES,
    DATA,
    DSRG_SCORE,
    HEADS,
    LAB,
    PEEK,
    PROXIES,
    QUALITY,
    RECOGNITION,
    RECOGNIZER,
    RUN,
    SCORE,
    WEIGHTS,
)


@dataclass
class Graph:
    """The artefacts of a study, planned as they are asked for."""

    study: Study
    runs: Mapping[str, RunSpec]  # all trainings of the tables by name
    _planned: dict[object, Artefact] = field(default_factory=dict, repr=False)
    _changed: "dict[Pairs, Graph]" = field(default_factory=dict, repr=False)

    def of(self, run: RunSpec) -> "Graph":
        """The study as a run changes it, where all that the run is made from is planned; itself where it changes nothing."""
        if not run.changes:
            return self
        if run.changes not in self._changed:
            preset = changed(
                self.study.preset, run.changes, f"preset {self.study.preset.name!r} as run {run.name!r} changes it"
            )
            self._changed[run.changes] = Graph(replace(self.study, preset=preset), self.runs)
        return self._changed[run.changes]

    @cached_property
    def data(self) -> Artefact:
        """The prepared data set."""
        return DATA.artefact(self.study)

    @cached_property
    def weights(self) -> Artefact:
        """The backbone's initial weights."""
        return WEIGHTS.artefact(self.study)

    @cached_property
    def head_weights(self) -> tuple[Artefact, ...]:
        """What DSRG's heads begin with, if not at random: one or none."""
        from_weights = self.study.preset.dsrg.head_init != "random"
        return (HEADS.artefact(self.study, self.weights),) if from_weights else ()

    @cached_property
    def recognizer(self) -> Artefact:
        """DecoupledNet's recognizer, the same for all runs of the method."""
        return RECOGNIZER.artefact(self.study, self.data, self.weights)

    @cached_property
    def cues(self) -> Artefact:
        """The seed cues of seed 0: those of all runs, unless every seed has proxies of its own."""
        return self._cues(0)

    def _cues(self, proxy_seed: int) -> Artefact:
        """The seed cues of a seed, with the classifier that they are read off; those of a file are the same for all."""
        from_file = self.study.preset.proxy.cues == "file"
        place = "cues", 0 if from_file else proxy_seed
        if place not in self._planned:
            classifier = None if from_file else CLASSIFIER.artefact(self.study, self.data, self.weights, proxy_seed)
            self._planned[place] = CUES.artefact(self.study, self.data, classifier, proxy_seed)
        return self._planned[place]

    def proxies(self, proxy_set: int, seed: int = 0) -> Artefact:
        """The set of proxy masks that runs with a seed learn from.

        Where every seed has its own, all that chance has a part in is made anew: the classifier and its cues, if they are
        made here, and both rounds of DSRG.
        """
        place = proxy_set, (proxy_seed := self.study.proxy_seed(seed))
        if place not in self._planned:
            first = (self.data, self.weights, self._cues(proxy_seed), *self.head_weights)
            inputs = first if proxy_set == 1 else (self.data, self.proxies(1, seed))
            self._planned[place] = PROXIES.artefact(self.study, proxy_set, inputs, proxy_seed)
        return self._planned[place]

    def dsrg_score(self, proxies: Artefact) -> Artefact:
        """The score on val of the network behind a set of proxies."""
        return DSRG_SCORE.artefact(self.study, self.data, proxies, self.quality(proxies))

    def quality(self, proxies: Artefact) -> Artefact:
        """The report on the quality of a set of proxies."""
        cues = next(one for one in with_inputs(proxies) if one.kind == "cues")
        return QUALITY.artefact(self.study, self.data, cues, proxies)

    def run(self, run: RunSpec, seed: int) -> Artefact:
        """One training with one seed."""
        if (run, seed) not in self._planned:
            own = self.of(run)
            check_backbone(run.method, own.study.preset.network.backbone, f"run {run.name!r}")
            inputs = [own.data, *(getattr(own, kind) for kind in METHODS[run.method].made_from)]
            if run.needs_proxies:
                inputs.append(own.proxies(run.proxy_set, seed))
            if run.start_from:
                inputs.append(self.run(self.run_spec(run.start_from), seed))
            self._planned[run, seed] = RUN.artefact(own.study, run, seed, tuple(inputs))
        return self._planned[run, seed]

    def can_make(self, *runs: RunSpec) -> bool:
        """Whether the methods of runs can be built on the preset's backbone."""
        return all(METHODS[run.method].can_be_built_on(self.of(run).study.preset.network.backbone) for run in runs)

    def run_spec(self, name: str) -> RunSpec:
        """Find a training by the name that the plan shows."""
        if name not in self.runs:
            raise unknown("run", name, self.runs)
        return self.runs[name]

    def score(self, source: CellSource, seed: int, scoring: Scoring | None = None) -> Artefact:
        """The score of a run, or of an average of runs, as the tables want it or by another scoring."""
        runs = tuple(self.run(run, seed) for run in source.runs)
        return SCORE.artefact(self.of(source.runs[0]).study, self.data, runs, scoring or self.scoring(source.branch))

    def recognition(self, run: Artefact) -> Artefact:
        """What the recognizer behind a run finds, as the preset scores the run: a diagnosis beside its score."""
        spec: RunSpec = run.task.run
        return RECOGNITION.artefact(self.of(spec).study, self.data, run, self.scoring(spec.branches[0]))

    def lab(self, source: CellSource, seed: int) -> Artefact:
        """One run evaluated in all ways that are in use, beside its score."""
        (spec,) = source.runs
        score, printed = self.score(source, seed), self._printed.get(source)
        return LAB.artefact(self.of(spec).study, self.data, self.run(spec, seed), score, printed)

    def peek(self, run: RunSpec, seed: int) -> Artefact:
        """A run's training once more, scored on its way as the preset scores its branches."""
        return PEEK.artefact(self.of(run).study, self.run(run, seed), tuple(map(self.scoring, run.branches)))

    @cached_property
    def _printed(self) -> dict[CellSource, float]:
        return printed_by_source(load_tables(), self.runs)

    def scoring(self, branch: str) -> Scoring:
        """How the preset scores a branch for its tables."""
        evaluation = self.study.preset.evaluation
        return Scoring(branch, evaluation.scales, evaluation.flip)

    def needed(self, *artefacts: Artefact) -> list[Artefact]:
        """List artefacts and all that must be made before them, in order, with the diagnoses that belong to them: of each set
        of proxies its quality and its network's score, and what the recognizer behind a scored run finds.
        """
        found = {}
        for artefact in with_inputs(*artefacts):
            found[artefact.id] = artefact
            beside = [self.quality(artefact), self.dsrg_score(artefact)] if artefact.kind == "proxies" else []
            if artefact.kind == "score":
                beside += [self.recognition(one) for one in artefact.inputs if one.find_input("recognizer") is not None]
            found |= {one.id: one for one in beside}
        return list(found.values())

    def everything(self, seeds: Iterable[int]) -> Iterator[Artefact]:
        """Yield all artefacts of the study that can be asked for by id, seed after seed."""
        yield from self.needed(self.proxies(2))
        runs = [run for run in self.runs.values() if self.can_make(run)]
        if any("recognizer" in METHODS[run.method].made_from for run in runs):
            yield self.recognizer
        for seed in seeds:
            if self.study.proxy_seed(seed):
                yield from self.needed(self.proxies(2, seed))
            for run in runs:
                if run.changes:
                    yield from self.needed(*self.run(run, seed).inputs)
                yield self.run(run, seed)
                for branch in run.branches:
                    source = CellSource((run,), branch)
                    yield self.score(source, seed)
                    yield self.lab(source, seed)
                if self.run(run, seed).find_input("recognizer") is not None:
                    yield self.recognition(self.run(run, seed))
                yield self.peek(run, seed)
