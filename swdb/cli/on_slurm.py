"""`--on slurm`: the jobs of a command are submitted to a cluster's queue, and the command ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swdb.cli.command_line import KEPT, PROXY_SEEDS, CommandLine
from swdb.cli.options import propose, running, say
from swdb.cluster.jobs import Job, as_jobs, jobs_path, needs_no_training, note_job, read_jobs
from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, unknown
from swdb.core.identity import Code
from swdb.core.lease import leased
from swdb.study.capacity import Resources

if TYPE_CHECKING:
    from swdb.cluster.slurm import Cluster
    from swdb.specs.study import Study

On = Annotated[str, typer.Option("--on", help="here, or slurm: submit a job for each artefact, and end.")]
SlurmOptions = Annotated[
    str | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="Of each job: partition, time, account, gpus, cpus, mem and others of sbatch; probe: how long to wait for it.",
    ),
]


def open_slurm(
    line: CommandLine, on: str, typed: str | None, workdir: Path, device: str, looks: bool = False
) -> "OnSlurm | None":
    """Read `--on` and `--slurm`; None where nothing is submitted. Raises BadInput where this machine cannot submit jobs.

    looks: nothing is made; what was typed must make sense all the same.
    """
    if on not in ("here", "slurm"):
        raise unknown("--on", on, ("here", "slurm"))
    if on == "here":
        if typed is not None:
            raise BadInput(f"--slurm {typed}", "says how jobs are submitted, and none are", "--on slurm beside it")
        return None
    from swdb.cluster.slurm import open_cluster, read_options

    options = read_options(typed)
    if looks:
        return None
    return OnSlurm(line, open_cluster(workdir, options), "cuda" if options.gpus and device == "auto" else device)


class OnSlurm:
    """A command whose work is done by jobs."""

    def __init__(self, line: CommandLine, cluster: "Cluster", device: str):
        self.line, self.cluster, self.device = line, cluster, device
        self._probed: tuple[str, dict[str, Any]] | None = None

    def choose_precision(self, device: str) -> tuple[str, dict[str, Any]]:
        """Return the precision in which a job computes, and on what: the probe job says it."""
        if not self.cluster.options.probe:
            raise BadInput(
                "--slurm probe=0", "the precision is not known yet, and no job is asked", "--precision beside it"
            )
        return self._probe()

    def submit(self, study: "Study", todo: Sequence[Artefact], tables: str = "") -> None:
        """Submit a job for whatever is not finished and not under way in the queue, and one that renders `tables` (4, all)."""
        local = [artefact for artefact in todo if needs_no_training(artefact)]
        if not all(artefact.done for artefact in local):
            with running(self.line, study, Resources("cpu", 1), local) as runner:
                runner.make(local)
        if self._left(study, todo, self._under_way(study)) and self.cluster.options.probe:
            self._probe()
        with leased(jobs_path(study.folder), "submitting jobs"):
            numbers = self._under_way(study)
            waiting = len({numbers[artefact.id] for artefact in todo if artefact.id in numbers and not artefact.done})
            jobs = self._left(study, todo, numbers)
            for job in jobs:
                self._submit_job(study, job, numbers)
            if tables:
                self._submit_tables(study, todo, numbers, tables, anew=bool(jobs))
        done = sum(artefact.done for artefact in todo)
        own, others = (f"{count} job{'s' * (count != 1)}" for count in (len(jobs), waiting))
        say(f"{own} submitted for artefacts, {others} under way before; {done} of {len(todo)} artefacts are done")
        propose(self.line, study, "status")

    def _probe(self) -> tuple[str, dict[str, Any]]:
        from swdb.cluster.probe import probe

        self._probed = self._probed or probe(self.cluster, self.device, say)
        return self._probed

    def _under_way(self, study: "Study") -> dict[str, str]:
        """Return the number of the job that waits or runs for what is made, by id."""
        from swdb.cluster.slurm import queue

        noted = read_jobs(study.folder)
        known = queue() if noted else {}
        if known is None:
            raise BadInput("--on slurm", "squeue does not answer", "a cluster that says which jobs it has")
        return {
            made: one.job
            for made, one in noted.items()
            if (job := known.get(one.job)) is not None and job.name == one.name and job.is_alive
        }

    def _left(self, study: "Study", todo: Sequence[Artefact], numbers: dict[str, str]) -> list[Job]:
        return as_jobs(artefact for artefact in todo if not artefact.done and artefact.id not in numbers)

    def _submit_job(self, study: "Study", job: Job, numbers: dict[str, str]) -> None:
        ids = tuple(artefact.id for artefact in job.artefacts)
        after = dict.fromkeys(numbers[other.id] for other in job.inputs if other.id in numbers and not other.done)
        threads = self.line.option("threads")
        words = ("make", *ids, *self._options(study), "--device", self.device, "--jobs", "1")
        words += ("--threads", threads) if threads else ()
        needs = tuple(other.record.absolute() for other in job.inputs)
        number = self._send(words, job.name, f"afterok:{':'.join(after)}" if after else "", ids, needs)
        note_job(study.folder, ids, number, job.name)
        numbers.update(dict.fromkeys(ids, number))

    def _submit_tables(
        self, study: "Study", todo: Sequence[Artefact], numbers: dict[str, str], tables: str, anew: bool
    ) -> None:
        from swdb.cluster.slurm import cancel

        own = [PROXY_SEEDS] if study.proxy_seeds else []
        name = f"table-{tables}-{study.preset.name}{'-proxy-seeds' if own else ''}"
        if name in numbers:
            if not anew:
                return
            cancel(numbers[name])  # it waits for jobs that are gone, and would show less
        after = dict.fromkeys(numbers[artefact.id] for artefact in todo if artefact.id in numbers)
        words = ("reproduce-table", tables, "--no-train", *own, *limits(self.line), *self._options(study))
        number = self._send(words, name, f"afterany:{':'.join(after)}" if after else "", computes=False)
        note_job(study.folder, [name], number, name)

    def _send(
        self,
        words: tuple[str, ...],
        name: str,
        dependency: str,
        ids: tuple[str, ...] = (),
        needs: tuple[Path, ...] = (),
        computes: bool = True,
    ) -> str:
        from swdb.cluster.job import Make

        work = Make(words, self.cluster.workdir, ids, needs, Code.here())
        number = self.cluster.submit(work, name, dependency, computes)
        typer.echo(f"{number} {name}")
        return number

    def _options(self, study: "Study") -> list[str]:
        """Return the options that lead a job to the same study, from whatever folder it runs in."""
        options = ["--preset", _absolute(self.line.preset), "--workdir", str(self.cluster.workdir)]
        options += ["--precision", study.precision]
        for name in KEPT:
            file = study.files.get(name)
            if file is None or file.path.is_relative_to(study.folder / "inputs"):
                continue
            options += [f"--{name}", str(file.path.absolute())]
            if name == "weights" and (declared := self.line.option("preprocessing")) is not None:
                options += ["--preprocessing", _absolute(declared)]
        return options


def limits(line: CommandLine) -> list[str]:
    """Return the options that leave out rows or seeds of tables, or look at more, as they were typed."""
    typed = ((option, line.option(option)) for option in ("rows", "seeds"))
    words = [word for option, value in typed if value for word in (f"--{option}", value)]
    return [*words, *(["--show-peek"] if "--show-peek" in line.words else [])]


def _absolute(name: str) -> str:
    """Return the whole path of a file; other words as they are."""
    return str(Path(name).absolute()) if Path(name).is_file() else name
