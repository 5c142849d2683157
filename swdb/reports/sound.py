"""Which finished scores can be believed: what is half written, edited by hand, of other data or there twice is named and
left out. No torch; only records are read, so that it takes a moment.

in: scores by place -> out: those that are sound, and an error for each that is not
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from swdb.core.artefact import Artefact
from swdb.core.errors import MissingArtefact, SwdbError, system_error
from swdb.reports.results import check_record, runs_behind

Place = TypeVar("Place", bound=Hashable)


def sound(scores: Mapping[Place, Artefact]) -> tuple[dict[Place, Artefact], list[SwdbError]]:
    """Return the finished scores that can be believed, and what is wrong with the others, each once."""
    records, wrong = {}, {}
    finished = {one.id: one for one in scores.values() if one.done}
    for one in finished.values():
        try:
            records[one.id] = read(one)
        except MissingArtefact as error:
            wrong[one.id] = error
        except OSError as error:
            wrong[one.id] = system_error(error, one.folder)
    for identity, error in (*_of_other_data(finished, records), *_twice(finished, records)):
        wrong.setdefault(identity, error)
    kept = {place: one for place, one in scores.items() if one.id in records and one.id not in wrong}
    return kept, list({str(error): error for error in wrong.values()}.values())


def check_sound(scores: Mapping[Any, Artefact]) -> None:
    """Refuse finished scores that `sound` would leave out, for what shows or hands on all of them; raises the first error."""
    _, problems = sound(scores)
    if problems:
        raise problems[0]


def read(score: Artefact) -> dict[str, Any]:
    """Read a score with all that it is made from; raises MissingArtefact where the record does not say what is there."""
    record = score.read_record()
    score.check()
    for run in runs_behind(score):
        if not run.done:
            raise MissingArtefact(run.record, f"missing, and {score.id} is its score", "the record of the run")
        if run.read_record().get("id") != run.id:
            raise MissingArtefact(run.record, "is the record of another run", run.id)
        run.check()
    check_record(score, record)
    if record.get("id") != score.id:
        raise MissingArtefact(score.record, "is the record of another score", score.id)
    return record


def _of_other_data(
    finished: Mapping[str, Artefact], records: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, MissingArtefact]]:
    """Return the scores on other contents of the data set: than it has now or, where it is gone, than most of them."""
    if not records:
        return []
    data = next(iter(finished.values())).find_input("data")
    digests = Counter(record["data"] for record in records.values())
    now = data.digest() if data is not None and data.done else digests.most_common(1)[0][0]
    found = []
    for identity, record in records.items():
        if record["data"] != now:
            said = f"was scored on other data: {record['data'][:10]}, and it is {now[:10]}"
            found.append((identity, MissingArtefact(finished[identity].folder, said, "the data of all others")))
    return found


def _twice(
    finished: Mapping[str, Artefact], records: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, MissingArtefact]]:
    """Return the scores of runs that have the very weights of a run with another seed: one training under two names."""
    first: dict[str, Artefact] = {}
    copies = {}
    for score in (finished[identity] for identity in records):
        for run in runs_behind(score):
            other = first.setdefault(run.digest(), run)
            if other.key.get("seed") != run.key.get("seed"):
                copies[score.id] = run, other
    return [
        (identity, MissingArtefact(run.folder, f"has the very weights of {other.id}", "a training of its own"))
        for identity, (run, other) in copies.items()
    ]
