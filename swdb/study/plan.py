"""What would be made, under which id, from what: known before anything is there, and without loading torch.

An id is a name and the digest of a recipe: values, seed, and the ids of the inputs. A finished artefact is never
made again and never rewritten; a changed input is another id.

in: a work directory, a preset, runs and seeds -> out: artefacts in the order in which they can be made
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from swdb.core.errors import BadInput, MissingArtefact, nearest
from swdb.core.files import digest, file_digest, read_json, write_json
from swdb.data import dataset, voc
from swdb.proxy.sec_cues import CUE_LIST, SEC_LIST
from swdb.specs.presets import Preset, identity
from swdb.specs.tables import Recipe, Row, Table, all_recipes, load_tables

TRAINING_VERSION = 1  # raised by hand when the golden loss changes, in fp32 or bf16
EVALUATION_VERSION = 1  # raised by hand when the same weights would get another score
OUTCOMES = {"cues": "cues_sha256", "proxies": "masks_sha256"}  # where their records have the digest of what came out


@dataclass(frozen=True)
class Artefact:
    """Something that is made once: initial weights, cues, proxies or a run. `recipe` is what its id digests."""

    kind: str  # "weights", "cues", "proxies" or "run"
    name: str
    id: str
    folder: Path
    recipe: dict[str, Any]
    steps: int  # optimizer steps it takes: the unit of the progress bar
    seed: int = 0

    @property
    def record(self) -> Path:
        """The file that is written last: it is there if and only if the artefact is finished."""
        return self.folder / "done.json"

    @property
    def passport(self) -> Path:
        """Where a set of proxies says how good it is and what it was made from."""
        return self.folder / "passport.json"

    @property
    def done(self) -> bool:
        """Whether the artefact is finished."""
        return self.record.is_file()

    def begin(self, inputs: dict[str, str]) -> None:
        """Note the digests of what it is made from; refuses to go on with what was begun on other inputs."""
        path = self.folder / "inputs.json"
        if path.is_file() and read_json(path, "the same command again") != inputs:
            raise MissingArtefact(f"{self.folder} was begun on other inputs than there are now; {self._again}")
        write_json(path, inputs)

    def finish(self, record: dict[str, Any]) -> None:
        """Close the artefact: its record says what it was made from and what came out."""
        inputs = read_json(self.folder / "inputs.json", "the same command again")
        write_json(self.record, {"id": self.id, "recipe": self.recipe, "inputs": inputs, **record})

    def check(self, inputs: dict[str, str]) -> None:
        """Refuse a finished artefact that was made from other bytes than there are now."""
        then = self.read_record("the same command again").get("inputs", {})
        verb = "trained" if self.kind == "run" else "made"
        for name, now in inputs.items():
            if then.get(name) != now:
                found = f"{str(then.get(name))[:10]}) than there is now ({now[:10]}"
                raise MissingArtefact(f"{self.folder} was {verb} on other {name} ({found}); {self._again}")

    def content_digest(self) -> str:
        """Return the sha256 of what came out: weights, cues, or all masks."""
        record = self.read_record("the same command again")
        if self.kind in OUTCOMES:
            return record[OUTCOMES[self.kind]]
        return record.get("training", record)["weights_sha256"]

    @property
    def _again(self) -> str:
        return "delete that folder and run the same command again"

    def read_record(self, mend: str) -> dict[str, Any]:
        """Read what was written when it was finished; raises MissingArtefact with the command `mend`."""
        return read_json(self.record, mend)


@dataclass(frozen=True)
class Scoring:
    """How a finished run is scored on the validation split."""

    branch: str
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: str | None = None  # the name of a set of parameters in swdb.specs.crf_parameters

    @property
    def name(self) -> str:
        """A readable id, such as `val-strong` or `val-weak-0.75-1-1.25-flip`."""
        scales = "" if self.scales == (1.0,) else "-" + "-".join(f"{scale:g}" for scale in self.scales)
        version = "" if EVALUATION_VERSION == 1 else f"-v{EVALUATION_VERSION}"
        crf = "" if self.crf is None else f"-crf-{self.crf}"
        return f"{voc.VAL_SPLIT}-{self.branch}{scales}{'-flip' if self.flip else ''}{crf}{version}"

    def folder(self, run: Artefact) -> Path:
        """Where the predictions and the score lie."""
        return run.folder / "evals" / self.name

    def result(self, run: Artefact) -> dict[str, Any] | None:
        """Read the finished score; None where there is none."""
        path = self.folder(run) / "result.json"
        return read_json(path, f"swdb eval {run.name}") if path.is_file() else None


@dataclass(frozen=True)
class Saliency:
    """A folder of saliency maps that say where background is, and the sha256 of all of them."""

    folder: Path
    sha256: str


@dataclass(frozen=True)
class Work:
    """A work directory at one preset: where everything lies and what it is called."""

    folder: Path
    preset: Preset
    precision: str
    weights_file: Path | None = None
    cues_file: Path | None = None
    saliency: Saliency | None = None
    asked: tuple[tuple[str, str], ...] = ()  # options as the user typed them, for commands that we propose
    part: str = ""  # the options of `prepare-voc` that name a part of the data set

    @property
    def where(self) -> str:
        """The options that a proposed `prepare-voc` needs to find this work again."""
        workdir = {} if self.folder == Path("work") else {"workdir": str(self.folder)}
        options = _options({"preset": dict(self.asked).get("preset", self.preset.name), **workdir})
        return f"{options} {self.part}".rstrip()

    @property
    def options(self) -> str:
        """The options that any other proposed command needs: those that decide the ids of runs, too."""
        return " ".join(
            filter(None, (self.where, _options({name: value for name, value in self.asked if name != "preset"})))
        )

    @property
    def lacking(self) -> str:
        """The options for files that the preset needs and nobody has named yet."""
        network, proxy = self.preset.network, self.preset.proxy
        weights = " --weights FILE" if network.weights == "file" and self.weights_file is None else ""
        return weights + (
            " --cues localization_cues.pickle.gz" if proxy.cues == "file" and self.cues_file is None else ""
        )

    @property
    def data_root(self) -> Path:
        """Where the data set lies."""
        return self.folder / "data" / self.preset.data.name

    @property
    def reports(self) -> Path:
        """Where tables and figures go."""
        return self.folder / "reports" / self.preset.name

    def scoring(self, branch: str) -> Scoring:
        """How the preset scores a branch for its tables."""
        return Scoring(branch, self.preset.evaluation.scales, self.preset.evaluation.flip)

    @cached_property
    def tables(self) -> dict[int, Table]:
        """All table specs."""
        return load_tables()

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """All trainings of the tables by name."""
        return all_recipes(self.tables)

    @cached_property
    def initial_weights(self) -> Artefact:
        """The backbone's initial weights, the same for every row."""
        network, proxy, data = self.preset.network, self.preset.proxy, self.preset.data
        recipe: dict[str, Any] = {"version": TRAINING_VERSION, "backbone": network.backbone, "weights": network.weights}
        steps = 0
        if self.weights_file is not None:
            if not self.weights_file.is_file():
                raise MissingArtefact(
                    f"--weights {self.weights_file}: no such file; expected a .pth or .npz of plain tensors"
                )
            recipe["file"] = file_digest(self.weights_file)
        elif network.weights == "file":
            raise MissingArtefact(
                f"preset {self.preset.name!r} takes its initial weights from a file; name it once: swdb make-proxy {self.options}{self.lacking}"
            )
        elif network.weights == "pretext":
            steps = proxy.pretext_steps
            recipe |= {
                "data": dataset.recipe(data),
                "steps": steps,
                "classifier": self._classifier_settings,
                "precision": self.precision,
            }
        return self._artefact(
            "weights", network.weights if self.weights_file is None else self.weights_file.stem, recipe, steps
        )

    @property
    def _classifier_settings(self) -> dict[str, Any]:
        """What any training of a classifier reads: the optimizer's settings, and how crops are cut and gradients clipped."""
        proxy, training = self.preset.proxy, self.preset.training
        own = {name: getattr(proxy, name) for name in ("batch", "lr", "decay_at", "decay_factor")}
        cut = ("crop", "scale_min", "scale_max", "clip_norm", "longest_side")
        return own | {name: value for name, value in identity(training).items() if name in cut}

    @cached_property
    def cues(self) -> Artefact:
        """The seed cues that DSRG grows: from a classifier's activation maps, or from a published file."""
        proxy = self.preset.proxy
        recipe: dict[str, Any] = {
            "version": TRAINING_VERSION,
            "data": dataset.recipe(self.preset.data),
            "cues": proxy.cues,
        }
        if proxy.cues == "file":
            return self._artefact("cues", "cues-file", recipe | self._cue_digests(self._named_cues), 0)
        settings = identity(proxy)
        own = {name: settings[name] for name in ("steps", "threshold", "cam_sizes", "background_share")}
        if self.saliency is not None:
            own |= {"saliency": self.saliency.sha256, "saliency_threshold": proxy.saliency_threshold}
        recipe |= {
            **own,
            "classifier": self._classifier_settings,
            "weights": self.initial_weights.id,
            "precision": self.precision,
        }
        return self._artefact("cues", "cues-classifier", recipe, proxy.steps)

    @staticmethod
    def _cue_digests(path: Path) -> dict[str, str]:
        """Return the sha256 of published cues, and of the list that says whose they are where it is not SEC's own."""
        digests, id_list = {"file": file_digest(path)}, path.with_name(CUE_LIST)
        if path.suffix != ".npz" and id_list.is_file() and (of_list := file_digest(id_list)) != SEC_LIST:
            digests["list"] = of_list
        return digests

    @property
    def _named_cues(self) -> Path:
        """The file of published cues; raises MissingArtefact where none was named, or it is gone."""
        if self.cues_file is None:
            raise MissingArtefact(
                f"preset {self.preset.name!r} makes its proxies from seed cues; name them once: swdb make-proxy {self.options}{self.lacking}"
            )
        if not self.cues_file.is_file():
            raise MissingArtefact(
                f"--cues {self.cues_file}: no such file; expected a localization_cues.pickle or .pickle.gz, or a cues.npz of swdb's"
            )
        return self.cues_file

    def proxies(self, proxy_set: int) -> Artefact:
        """Proxy masks of all training images by DSRG; set 2 comes from its retrain round on set 1."""
        dsrg = identity(self.preset.dsrg)
        retrain = {name for name in dsrg if name.startswith("retrain")}
        recipe: dict[str, Any] = {"version": TRAINING_VERSION, "set": proxy_set, "precision": self.precision}
        if proxy_set == 1:
            recipe |= {
                "data": dataset.recipe(self.preset.data),
                "backbone": self.preset.network.backbone,
                "longest_side": self.preset.training.longest_side,
                "dsrg": {name: value for name, value in dsrg.items() if name not in retrain},
                "weights": self.initial_weights.id,
                "cues": self.cues.id,
            }
            return self._artefact("proxies", "dsrg-1", recipe, self.preset.dsrg.steps)
        recipe |= {"dsrg": {name: dsrg[name] for name in sorted(retrain)}, "first": self.proxies(1).id}
        return self._artefact("proxies", "dsrg-2", recipe, self.preset.dsrg.retrain_steps)

    def run(self, run: Recipe, seed: int) -> Artefact:
        """One training with one seed."""
        values = {key: value for key, value in asdict(run).items() if key not in ("name", "start_from")}
        recipe = {
            "version": TRAINING_VERSION,
            "run": values,
            "seed": seed,
            "data": dataset.recipe(self.preset.data),
            "network": identity(self.preset.network),
            "training": identity(self.preset.training),
            "weights": self.initial_weights.id,
            "precision": self.precision,
            "proxies": self.proxies(run.proxy_set).id if run.needs_proxies else None,
            "start": self.run(self.recipe(run.start_from), seed).id if run.start_from else None,
        }
        return self._artefact("run", f"{run.name}-s{seed}", recipe, self.preset.training.steps, seed)

    def recipe(self, name: str) -> Recipe:
        """Find a training by the name that the plan shows."""
        if name not in self.recipes:
            raise BadInput(f"unknown run {name!r}; {nearest(name, self.recipes)}")
        return self.recipes[name]

    def needed(self, *artefacts: Artefact) -> list[Artefact]:
        """List artefacts and all that must be made before them, first things first, each once."""
        found: dict[str, Artefact] = {}

        def visit(this: Artefact) -> None:
            if this.id not in found:
                for other in self._inputs(this):
                    visit(other)
                found[this.id] = this

        for artefact in artefacts:
            visit(artefact)
        return list(found.values())

    def _inputs(self, artefact: Artefact) -> list[Artefact]:
        """List what an artefact is made from, one step back."""
        if artefact.kind == "weights":
            return []
        if artefact.kind == "cues":
            return [self.initial_weights] if artefact.recipe["cues"] == "classifier" else []
        if artefact.kind == "proxies":
            return [self.initial_weights, self.cues] if artefact.recipe["set"] == 1 else [self.proxies(1)]
        run = self.recipe(artefact.name.rpartition("-s")[0])
        inputs = [self.initial_weights]
        if run.needs_proxies:
            inputs.append(self.proxies(run.proxy_set))
        if run.start_from:
            inputs.append(self.run(self.recipe(run.start_from), artefact.seed))
        return inputs

    def weights_summary(self) -> str:
        """Say in one line what became of every tensor of the initial weights."""
        fates = [entry["fate"] for entry in self.initial_weights.read_record("swdb make-proxy").get("tensors", [])]
        counts = ", ".join(f"{fates.count(fate)} {fate}" for fate in ("loaded", "reshaped", "skipped"))
        return f"initial weights {self.initial_weights.id}: " + (f"tensors {counts}" if fates else "made here")

    def input_digests(self, artefact: Artefact, tree_root: str) -> dict[str, str]:
        """Return the sha256 of everything an artefact is made from, by kind; its inputs must be finished."""
        if artefact.kind == "weights":
            return {}
        return {"data": tree_root, **{other.kind: other.content_digest() for other in self._inputs(artefact)}}

    def plan(self, runs: Iterable[Recipe], seeds: Iterable[int]) -> list[Artefact]:
        """List everything that these runs and seeds need, first things first, each once."""
        runs = list(runs)
        # Seed after seed: whoever stops early has whole tables with fewer seeds.
        return self.needed(*(self.run(run, seed) for seed in seeds for run in runs))

    def scores(self, rows: Iterable[tuple[Table, Row]], seeds: Iterable[int]) -> list[tuple[Artefact, Scoring]]:
        """List the scores that rows of tables need, each once: which run, by which branch."""
        found: dict[tuple[str, Scoring], tuple[Artefact, Scoring]] = {}
        rows = list(rows)
        for seed in seeds:
            for table, row in rows:
                artefact = self.run(row.run, seed)
                for column in table.columns:
                    if column.branch:
                        scoring = self.scoring(column.branch)
                        found[artefact.id, scoring] = artefact, scoring
        return list(found.values())

    def estimate(self, plan: list[Artefact]) -> str:
        """Say how long what is left may take, from the finished trainings of this work directory."""
        left = sum(artefact.steps for artefact in plan if not artefact.done)
        if not left:
            return "nothing is left to train"
        spent = [
            record
            for path in self.folder.glob("runs/*/training.json")
            if (record := read_json(path, "swdb train"))["steps"] == self.preset.training.steps
        ]
        if not spent:
            return f"{left} optimizer steps are left; how long they take is known once a first run has finished here"
        per_step = sum(record["seconds"] for record in spent) / sum(record["steps"] for record in spent)
        return f"{left} optimizer steps are left, about {left * per_step / 60:.0f} minutes at the rate of {len(spent)} finished runs"

    def _artefact(self, kind: str, name: str, recipe: dict[str, Any], steps: int, seed: int = 0) -> Artefact:
        identity = f"{name}-{digest(recipe)[:10]}"
        folder = self.folder / {"run": "runs"}.get(kind, kind) / identity
        return Artefact(kind, name, identity, folder, recipe, steps, seed)


def _options(values: Mapping[str, str]) -> str:
    return " ".join(f"--{name} {shlex.quote(value)}" for name, value in values.items())
