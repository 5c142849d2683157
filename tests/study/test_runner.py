"""The runner makes what is missing, in order, from inputs that are checked, beside other processes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cued
import pytest
import toy_worker
import toys
from conftest import TESTS, TINY, other_data
from studies import CPU, Watcher, changed, graph_of, runner

from swdb.core import lease
from swdb.core.artefact import Artefact
from swdb.core.errors import BadInput, DiskRefused, LeaseLost, MissingArtefact, NotMade
from swdb.core.files import write_json
from swdb.core.journal import Journal, last_lines
from swdb.core.lease import Lease
from swdb.data.facts import ALL_SPLIT, VAL_SPLIT
from swdb.specs.presets import load_preset
from swdb.specs.study import NamedFile
from swdb.specs.tables import CellSource
from swdb.specs.tasks import Scoring
from swdb.study.costs import read_cost
from swdb.study.graph import Graph
from swdb.study.queue import Queue
from swdb.study.runner import Runner
from swdb.study.stages import STAGES


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory) -> Path:
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("copied") / "work")
    assert runner().dataset(graph_of(folder).data).ids(VAL_SPLIT)  # files that were copied are audited once more
    return folder


@pytest.fixture
def own(finished, tmp_path) -> Path:
    """A finished work directory that a test may spoil."""
    return shutil.copytree(finished, tmp_path / "work")


def run_of(graph: Graph, name: str) -> Artefact:
    return graph.run(graph.run_spec(name), 0)


def score_of(graph: Graph, name: str, branch: str = "strong", scoring: Scoring | None = None) -> Artefact:
    return graph.score(CellSource((graph.run_spec(name),), branch), 0, scoring)


def made(artefacts) -> Watcher:
    watcher = Watcher()
    runner(watcher).make(artefacts)
    return watcher


def refused(artefacts) -> MissingArtefact | BadInput:
    with pytest.raises((MissingArtefact, BadInput)) as caught:
        runner().make(artefacts)
    return caught.value


def times(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


# ---------------------------------------------------------------- data first


def test_the_embedded_data_set_is_drawn_where_it_is_missing_and_audited(tmp_path):
    graph = graph_of(tmp_path / "work")
    watcher = made([graph.data])
    assert watcher.stages == ["draw the data set", "audit the data set"]
    assert len(runner().dataset(graph.data).ids(ALL_SPLIT)) == 32


def test_a_data_set_that_is_there_is_not_drawn_again(copied):
    before = times(copied / "data")
    watcher = made([graph_of(copied).data])
    assert watcher.stages == [] and times(copied / "data") == before


def test_real_images_are_not_drawn_and_nothing_is_made_without_them(tmp_path):
    preset = changed(load_preset("voc"), "network", weights="random")
    graph = graph_of(tmp_path / "work", preset)
    error = refused([graph.weights, graph.data])  # data are asked for before whatever stands before them
    assert isinstance(error, NotMade) and error.subject == graph.data.folder and "'voc'" in error.found
    assert not (tmp_path / "work" / "weights").exists()


class Hands:
    """Workers that only note what they are given, and whether the data were there then."""

    def __init__(self, data: Artefact):
        self.data, self.given = data, []

    def begin(self, artefacts):
        self.given.append(([one.kind for one in artefacts], self.data.done))

    def make(self, artefacts):
        self.given.append(("all", self.data.done))
        return []


def test_a_pretext_is_trained_while_the_data_are_drawn(tmp_path):
    graph = graph_of(tmp_path / "work")
    hands = Hands(graph.data)
    Runner(CPU, Watcher(), workers=hands).make(graph.needed(run_of(graph, "mixed")))
    assert hands.given == [(["weights"], False), ("all", True)]
    Runner(CPU, Watcher(), workers=hands).make(graph.needed(run_of(graph, "mixed")))  # the data are there already
    assert hands.given[2:] == [("all", True)]


def test_nothing_is_trained_beside_the_drawing_that_needs_the_data_or_is_read_from_a_file(tmp_path):
    preset = changed(load_preset(str(TINY)), "network", weights="random")
    graph = graph_of(tmp_path / "work", preset)
    hands = Hands(graph.data)
    Runner(CPU, Watcher(), workers=hands).make(graph.needed(run_of(graph, "mixed")))
    assert hands.given == [("all", True)]


def test_a_data_set_is_opened_once_and_decoded_once(own):
    graph, watcher = graph_of(own), Watcher()
    at = runner(watcher)
    shutil.rmtree(graph.data.folder / "store")
    assert at.dataset(graph.data) is at.dataset(graph_of(own).data)
    assert at.store(graph.data, 0) is at.store(graph_of(own).data, 0)
    assert [at.store(graph.data, side).images.shape for side in (0, 16)] == [(32, 32, 32, 3), (32, 16, 16, 3)]
    assert watcher.stages == ["audit the data set", *["decode the training images"] * 2]


def test_a_data_set_that_changed_is_refused_before_anything_is_made(own):
    graph = graph_of(own)
    shutil.rmtree(graph.weights.folder)
    path = graph.data.folder / "image_labels.csv"
    path.write_text(path.read_text().replace("alpha", "beta", 1))
    error = refused([graph.data, graph.weights])
    assert error.subject == graph.data.folder and "image_labels.csv" in error.found
    assert not graph.weights.folder.exists()


# ---------------------------------------------------------------- before the first training


def test_what_takes_no_training_comes_first(own):
    graph = graph_of(own)
    named = changed(load_preset(TINY), "network", weights="random")
    random = graph_of(own, named)
    run, other = graph.run(graph.run_spec("strong"), 0), random.weights
    for artefact in (run, other):
        shutil.rmtree(artefact.folder, ignore_errors=True)
    watcher = made([graph.data, graph.weights, run, random.data, other])
    assert next(k for k, line in enumerate(watcher.lines) if other.id in line) == 0
    assert watcher.stages.count(run.name) == 1 and other.done


@pytest.mark.parametrize(("free", "total", "fits"), [(10**12, 10**12, True), (10**5, 10**12, False), (0, 0, True)])
def test_a_disk_without_room_for_all_trainings_is_refused_before_the_first(own, monkeypatch, free, total, fits):
    graph = graph_of(own)
    run = graph.run(graph.run_spec("strong"), 0)
    shutil.rmtree(run.folder)
    monkeypatch.setattr("swdb.study.runner.shutil.disk_usage", lambda _: SimpleNamespace(free=free, total=total))
    if fits:
        made([run])
        return
    error = refused([run])
    assert isinstance(error, DiskRefused) and "full" in error.found and "1 trainings" in error.found
    assert error.subject in run.folder.parents and not run.folder.exists()


def test_the_room_that_is_counted_is_that_of_the_weights(finished):
    graph = graph_of(finished)
    artefacts = [
        graph.cues.input("classifier"),
        graph.proxies(1),
        graph.proxies(2),
        graph.run(graph.run_spec("dual"), 0),
    ]
    for artefact in artefacts:
        size = (artefact.folder / "weights.pt").stat().st_size
        assert 0.5 * size < STAGES[artefact.kind].room(artefact, runner()) <= size  # small networks have long headers


# ---------------------------------------------------------------- making


def test_finished_artefacts_are_not_touched(copied):
    graph = graph_of(copied)
    plan = graph.needed(*(score_of(graph, name) for name in graph.runs))
    # data, weights, classifier, cues, two sets of proxies with two diagnoses each; a recognizer, and three of its
    assert len(plan) == 21 + 21 + 4 + 2 * 3 + 1 + 3
    before = times(copied)
    watcher = made(plan)
    assert times(copied) == before
    assert watcher.stages == watcher.lines == []


def test_what_is_missing_is_made_in_the_plans_order(own):
    graph = graph_of(own)
    for name in ("weak", "weak-then-strong"):
        shutil.rmtree(run_of(graph, name).folder)
    plan = graph.needed(run_of(graph, "weak-then-strong"))
    watcher = made(plan)
    assert [name for name in watcher.stages if name.endswith("-s0")] == ["weak-s0", "weak-then-strong-s0"]
    assert all(artefact.done for artefact in plan)


def test_a_run_is_scored_as_soon_as_it_is_trained(own):
    graph = graph_of(own)
    scores = [score_of(graph, "strong"), score_of(graph, "dual"), score_of(graph, "dual", "weak")]
    for name in ("strong", "dual"):
        shutil.rmtree(run_of(graph, name).folder)
    watcher = made(graph.needed(*scores))
    assert [name for name in watcher.stages if "-s0" in name] == [
        "strong-s0", "strong-s0-val-strong", "dual-s0", "dual-s0-val-strong", "dual-s0-val-weak",
    ]  # fmt: skip
    assert all(score.done for score in scores)


def test_the_order_given_does_not_matter_where_inputs_decide_it(own):
    graph = graph_of(own)
    score = score_of(graph, "strong")
    shutil.rmtree(run_of(graph, "strong").folder)
    watcher = made(reversed(graph.needed(score)))
    assert [name for name in watcher.stages if "-s0" in name] == ["strong-s0", "strong-s0-val-strong"]


def test_a_finished_score_is_read_without_the_network(own):
    graph = graph_of(own)
    (run_of(graph, "dual").folder / "weights.pt").unlink()
    assert made([score_of(graph, "dual", "weak")]).stages == []


def test_a_finished_run_is_scored_without_what_it_began_with(own):
    graph = graph_of(own)
    run = run_of(graph, "dual-5")
    shutil.rmtree(graph.weights.folder)
    shutil.rmtree(graph.proxies(1).folder)
    (run.folder / "training.json").unlink()
    score = score_of(graph, "dual-5", "weak", Scoring("weak", flip=True))
    assert made([score]).stages == ["audit the data set", score.name]
    assert score.read_record()["run"] == run.id


def test_a_record_says_what_an_artefact_was_made_from_and_what_came_out(copied):
    graph = graph_of(copied)
    for artefact in graph.needed(run_of(graph, "weak-retrain"), score_of(graph, "dual")):
        record = artefact.read_record()
        assert (record["id"], record["kind"]) == (artefact.id, artefact.kind)
        assert record["key"] == json.loads(json.dumps(artefact.key))
        assert record["inputs"] == {other.id: other.digest() for other in artefact.inputs}
        assert len(record["digest"]) == 64 and not artefact.begun.exists()


def test_what_a_stage_says_reaches_the_observer(tmp_path):
    graph = graph_of(tmp_path, changed(load_preset(TINY), "network", weights="random"))
    watcher = made(graph.needed(graph.weights))
    (line,) = watcher.lines
    assert graph.weights.id in line


def test_what_waits_inside_a_stage_says_so_to_the_observer(monkeypatch):
    monkeypatch.setattr(lease, "announce", lease.announce)
    watcher = Watcher()
    Runner(CPU, watcher)
    lease.announce("waiting for masks.npy")
    assert watcher.lines == ["waiting for masks.npy"]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("name", ["a", "end"])
def test_an_input_that_is_missing_and_not_to_be_made_is_refused_first(tmp_path, monkeypatch, name):
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    planned = toys.planned(tmp_path)
    todo = [planned["root"], planned[name]] if name == "end" else [planned[name]]
    with pytest.raises(NotMade) as caught:
        runner().make(todo)
    lacking = planned["a"] if name == "end" else planned["root"]
    assert caught.value.subject == lacking.folder and planned[name].id in caught.value.found
    assert caught.value.exit_code == 3
    assert toys.made(tmp_path) == []  # not even what could have been made


def test_what_is_finished_needs_no_inputs_to_be_made_from(tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    planned = toys.planned(tmp_path)
    runner().make(planned.values())
    assert toys.made(tmp_path) == list(toys.NAMES)
    planned["c"].record.unlink()
    runner().make([planned["root"], planned["c"]])
    assert toys.made(tmp_path) == [*toys.NAMES, "c"]


def test_a_run_on_other_data_is_refused_and_left_alone(own):
    graph = graph_of(own)
    run = run_of(graph, "dual")
    other_data(own)
    before = times(run.folder)
    error = refused([run])
    assert error.subject == run.folder and graph.data.id in error.found
    assert times(run.folder) == before


@pytest.mark.parametrize("proxy_set", [1, 2])
def test_proxies_of_other_data_are_refused(own, proxy_set):
    graph = graph_of(own)
    other_data(own)
    proxies = graph.proxies(proxy_set)
    error = refused([proxies])
    assert error.subject == proxies.folder and graph.data.id in error.found


@pytest.mark.parametrize("kind", ["weights", "proxies"])
def test_a_finished_run_is_checked_against_all_its_inputs(own, kind):
    graph = graph_of(own)
    run = run_of(graph, "dual")
    changed_input = run.input(kind)
    write_json(changed_input.record, changed_input.read_record() | {"digest": "0" * 64})
    error = refused([run])
    assert error.subject == run.folder and changed_input.id in error.found and "0000000000" in error.found


def test_what_was_begun_on_other_inputs_is_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    planned = toys.planned(tmp_path)
    root, one = planned["root"], planned["a"]
    runner().make([root])
    write_json(one.begun, {root.id: "0" * 64})
    assert refused([one]).subject == one.folder
    write_json(one.begun, {root.id: root.digest()})  # an interrupted start on the same
    runner().make([one])
    assert one.done and not one.begun.exists()


@pytest.mark.parametrize("name", ["run", "weights"])
def test_damaged_weights_are_refused(own, name):
    graph = graph_of(own)
    if name == "run":
        damaged = run_of(graph, "dual").folder / "weights.pt"
        artefact = score_of(graph, "dual", "strong", Scoring("strong", flip=True))
    else:
        damaged = graph.weights.folder / "weights.pt"
        artefact = run_of(graph, "strong")
        shutil.rmtree(artefact.folder)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert refused([artefact]).subject == damaged
    assert not artefact.done


def test_another_preset_is_another_run(copied):
    longer = changed(load_preset(TINY), "training", steps=7)
    assert run_of(graph_of(copied), "dual").done
    assert not run_of(graph_of(copied, longer), "dual").done


# ---------------------------------------------------------------- looking early


def test_named_cues_are_looked_at_before_anything_is_trained(tmp_path):
    graph = cued.graph(tmp_path)
    cues = graph.study.files["cues"].path
    cues.write_bytes(cues.read_bytes() + b"more")
    error = refused(graph.needed(graph.proxies(1)))
    assert isinstance(error, BadInput) and error.subject == f"--cues {cues}"
    cues.unlink()
    assert refused(graph.needed(graph.proxies(1))).subject == f"--cues {cues}"
    assert not (tmp_path / "work" / "weights").exists()


@pytest.mark.parametrize("fault", ["gone", "changed", "incomplete"])
def test_saliency_maps_are_looked_at_before_anything_is_trained(own, tmp_path, fault):
    folder = tmp_path / "maps"
    folder.mkdir()
    if fault != "gone":
        ids = runner().dataset(graph_of(own).data).ids(ALL_SPLIT)
        for image_id in ids[fault == "incomplete" :]:
            shutil.copy(own / "proxies" / graph_of(own).proxies(1).id / f"{image_id}.png", folder)
    else:
        folder.rmdir()
    graph = graph_of(own, saliency=NamedFile(folder, {"saliency": "0" * 64}))
    shutil.rmtree(graph.weights.folder)
    error = refused(graph.needed(graph.proxies(1)))
    assert error.subject == f"--saliency {folder}"
    assert not graph.weights.folder.exists()


def test_what_is_finished_is_not_looked_at_again(tmp_path):
    graph = cued.graph(tmp_path)
    made(graph.needed(graph.cues))
    graph.study.files["cues"].path.unlink()
    assert made(graph.needed(graph.cues)).stages == []


# ---------------------------------------------------------------- beside other processes


def start(folder: Path, *halts_at: str) -> subprocess.Popen:
    """Start a process that works at the toys, and wait until it is ready."""
    command = [sys.executable, str(TESTS / "toys.py"), str(folder), *halts_at]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def ended(process: subprocess.Popen) -> str:
    """Wait for a process to end well; returns what it said since."""
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return said


def test_two_processes_make_everything_once_and_both_finish(tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    for process in both:
        go(process)
    for process in both:
        ended(process)
    assert sorted(toys.made(tmp_path)) == sorted(toys.NAMES)
    assert all(artefact.done for artefact in toys.planned(tmp_path).values())


def test_a_process_goes_on_with_other_artefacts_then_waits_and_says_for_whom(tmp_path):
    planned = toys.planned(tmp_path)
    first, second = start(tmp_path, "a"), start(tmp_path)
    go(first)
    assert first.stdout.readline() == "making a\n"
    go(second)
    line = second.stdout.readline()
    assert planned["a"].id in line and f"process {first.pid} " in line and "(playing, since" in line
    assert planned["b"].done and planned["c"].done and not planned["a"].done  # while it was held
    go(first)
    said = [line, *(ended(first) + ended(second)).splitlines(keepends=True)]
    assert len(set(said)) == len(said)  # nothing is said twice
    assert sorted(toys.made(tmp_path)) == sorted(toys.NAMES) and planned["end"].done


def test_what_a_killed_process_was_making_is_made_by_the_one_that_waits(tmp_path):
    planned = toys.planned(tmp_path)
    first, second = start(tmp_path, "a"), start(tmp_path)
    go(first)
    assert first.stdout.readline() == "making a\n"
    go(second)
    assert f"process {first.pid} " in second.stdout.readline()
    first.kill()
    first.communicate()
    ended(second)
    assert toys.made(tmp_path).count("a") == 2 and planned["end"].done
    assert planned["a"].read_record()["inputs"] == {planned["root"].id: planned["root"].digest()}


def test_what_the_other_process_finished_meanwhile_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    planned = toys.planned(tmp_path)
    runner().make([planned["root"]])
    held = Lease(planned["a"].folder, "playing")
    assert held.try_take()

    class Finishes(Watcher):
        """An observer that finishes the artefact when it hears that somebody waits for it."""

        def tell(self, line: str) -> None:
            super().tell(line)
            planned["a"].begin()
            planned["a"].finish({"digest": "1" * 64})
            held.release()

    watcher = Finishes()
    monkeypatch.setattr("swdb.study.runner.POLL", 0.01)
    Runner(CPU, watcher).make([planned["a"]])
    assert len(watcher.lines) == 1 and toys.made(tmp_path) == ["root"]
    assert planned["a"].digest() == "1" * 64


def test_a_lease_is_given_back_when_making_fails(tmp_path, monkeypatch):
    class Fails(toys.Toy):
        def make(self, artefact, tools):
            assert lease.Lease(artefact.folder).try_take() is False  # it is held while it is made
            raise BadInput("toy", "broken")

    monkeypatch.setitem(STAGES, "toy", Fails())
    root = toys.planned(tmp_path)["root"]
    assert refused([root]).found == "broken"
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    runner().make([root])
    assert root.done


def test_reports_that_share_a_folder_are_leased_by_their_record(tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    root = toys.planned(tmp_path)["root"]
    report = replace(root, name="report", id="report", record_name="report.json", shares_folder=True)
    with lease.leased(root.folder):  # somebody is at work at the folder
        runner().make([report])
    assert report.done and not root.done


# ---------------------------------------------------------------- inputs that vanish


class Deletes(toys.Toy):
    """A stage during which somebody deletes what the first artefact was made of."""

    def __init__(self, gone: Artefact):
        super().__init__()
        self.gone = gone

    def make(self, artefact, tools):
        said = super().make(artefact, tools)
        if artefact.name == "a":
            self.gone.record.unlink()
        return said


@pytest.fixture
def vanishing(tmp_path, monkeypatch):
    planned = toys.planned(tmp_path)
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    runner().make([planned["root"]])
    monkeypatch.setitem(STAGES, "toy", Deletes(planned["root"]))
    monkeypatch.setattr("swdb.study.runner.time.sleep", lambda seconds: pytest.fail("waits for nobody"))
    return planned


def test_an_input_that_is_deleted_meanwhile_is_made_again(vanishing, tmp_path):
    runner().make(vanishing.values())
    assert toys.made(tmp_path) == ["root", "a", "root", "b", "c", "end"]


def test_an_input_that_is_deleted_and_that_nobody_makes_is_named(vanishing):
    with pytest.raises(NotMade) as caught:
        runner().make([vanishing["a"], vanishing["b"]])
    assert caught.value.subject == vanishing["root"].folder and vanishing["b"].id in caught.value.found


def test_an_input_that_another_process_makes_again_is_waited_for(vanishing, monkeypatch):
    holder = Lease(vanishing["root"].leased_path, "making it again")
    assert holder.try_take()

    def back(seconds: float) -> None:
        holder.release()
        runner().make([vanishing["root"]])

    monkeypatch.setattr("swdb.study.runner.time.sleep", back)
    watcher = Watcher()
    runner(watcher).make([vanishing["a"], vanishing["b"]])
    assert vanishing["b"].done and any("making it again" in line for line in watcher.lines)


class Filled(Queue):
    """A queue that is filled and closed while somebody looks at what is left of it, as a worker's may be."""

    def left(self):
        found = super().left()
        if self.is_open:
            self.artefacts, self.is_open = self.late, False
        return found


def test_a_queue_that_is_closed_while_it_is_looked_at_is_worked_off(tmp_path, monkeypatch):
    monkeypatch.setitem(STAGES, "toy", toys.Toy())
    queue = Filled([], "a test", True)
    queue.late = [*toys.planned(tmp_path).values()]
    runner().make_free(queue)
    assert sorted(toys.made(tmp_path)) == sorted(one.name for one in queue.late)


# ---------------------------------------------------------------- again


def test_what_is_there_stays_until_the_new_one_is_whole(own, monkeypatch):
    run = run_of(graph_of(own), "strong")
    before = times(run.folder)
    with monkeypatch.context() as patch:
        patch.setattr(STAGES["run"], "make", lambda artefact, tools: 1 / 0, raising=False)
        with pytest.raises(ZeroDivisionError):
            runner().make_again([run])
    assert times(run.folder) == before and run.done
    runner().make_again([run])
    assert run.done and times(run.folder)["weights.pt"] > before["weights.pt"]
    assert [path.name for path in run.folder.parent.glob(".*") if path.name != ".leases"] == []


def test_what_an_interrupted_start_made_again_is_gone_on_with_or_left_aside(own):
    run = run_of(graph_of(own), "strong")
    for damage in (False, True):
        shutil.copytree(run.folder, run.anew.folder)
        (run.anew.folder / "done.json").unlink()
        if damage:
            (run.anew.folder / "weights.pt").write_bytes(b"x")
        record = run.read_record()
        runner().make_again([run])
        assert run.read_record()["digest"] == record["digest"]
        assert not run.anew.folder.exists()


def test_a_kill_between_two_renames_costs_nothing(own):
    run = run_of(graph_of(own), "strong")
    before = times(run.folder)
    run.folder.rename(run.anew.folder)  # whole, and what it was to replace is set aside
    runner().make_again([run])
    assert run.done and times(run.folder) == before and not run.anew.folder.exists()


def test_what_was_made_again_is_taken_by_whoever_comes_after_a_kill(own):
    run = run_of(graph_of(own), "strong")
    before = times(run.folder)
    run.folder.rename(run.anew.folder)
    runner().make([run])
    assert run.done and times(run.folder) == before and not run.anew.folder.exists()


def test_what_was_made_again_from_other_inputs_is_not_taken(own):
    run = run_of(graph_of(own), "strong")
    digest = run.digest()
    run.folder.rename(run.anew.folder)
    record = run.anew.read_record()
    write_json(run.anew.record, record | {"inputs": dict.fromkeys(record["inputs"], "0"), "digest": "x"})
    runner().make([run])
    assert run.digest() == digest


def test_a_folder_on_another_disk_is_made_again_there(own, tmp_path):
    run, big = run_of(graph_of(own), "strong"), tmp_path / "big"
    before = times(run.folder)
    shutil.move(run.folder, big)
    run.folder.symlink_to(big)
    assert run.anew.folder.parent == run.folder
    runner().make_again([run])
    assert run.done and run.folder.is_symlink() and times(big)["weights.pt"] > before["weights.pt"]
    assert [path.name for path in big.glob(".*") if path.name != ".leases"] == []


def test_who_cannot_help_goes_on(tmp_path, monkeypatch):
    class Toy(toys.Toy):
        tried = 0

        def help(self, artefact, tools):
            self.tried += 1
            raise RuntimeError("out of memory")

    monkeypatch.setitem(STAGES, "toy", Toy())
    held = next(iter(toys.planned(tmp_path).values()))
    watcher = Watcher()
    helper = runner(watcher)
    for _ in range(2):
        helper._help([replace(held, task=1)])
    assert STAGES["toy"].tried == 1 and watcher.lines == [f"{held.id}: this process cannot help with it: out of memory"]


def test_what_is_not_there_is_made(own):
    run = run_of(graph_of(own), "strong")
    shutil.rmtree(run.folder)
    runner().make_again([run])
    assert run.done


# ---------------------------------------------------------------- what cannot be made, journals, help


def playing(folder: Path, watcher: Watcher | None = None) -> Runner:
    return Runner(CPU, watcher or Watcher(), workdir=folder)


@pytest.fixture
def behaving(monkeypatch):
    monkeypatch.setitem(STAGES, "toy", toy_worker.Behaving())


def test_what_fails_is_left_out_and_the_first_error_is_raised_at_the_end(behaving, tmp_path):
    artefacts = toy_worker.planned(tmp_path, 4, m0="fail", m2="bug")
    watcher = Watcher()
    made_by = playing(tmp_path, watcher)
    with pytest.raises(BadInput, match="m0: cannot be made"):
        made_by.make(artefacts)
    assert [(one.name, type(error)) for one, error in made_by.failures] == [("m0", BadInput), ("m2", ZeroDivisionError)]
    assert {one.name for one in artefacts if not one.done} == {"m0", "m2", "e0", "e2"}
    assert [line.partition(":")[2].split("-")[0].strip() for line in watcher.lines] == ["m0", "m2"]


def test_what_is_made_from_what_is_finished_does_not_care_how_that_fared(behaving, tmp_path):
    artefacts = toy_worker.planned(tmp_path, 1)
    playing(tmp_path).make(artefacts[:2])
    toy_worker.planned(tmp_path, 1, root="fail")
    playing(tmp_path).make(artefacts)
    assert artefacts[-1].done


@pytest.mark.parametrize("behaviour", ["full", "lost"])
def test_a_full_disk_and_a_lost_lease_end_the_work_of_one_process_at_once(behaving, tmp_path, behaviour):
    artefacts = toy_worker.planned(tmp_path, 2, m0=behaviour)
    with pytest.raises((DiskRefused, LeaseLost)):
        playing(tmp_path).make(artefacts)
    assert toys.made(tmp_path) == ["root", "m0"]


def test_the_journal_of_an_artefact_tells_how_it_fared(behaving, tmp_path):
    root, middle, _ = toy_worker.planned(tmp_path, 1, m0="fail")
    with pytest.raises(BadInput):
        playing(tmp_path).make([root, middle])
    begun, finished = last_lines(Journal(tmp_path, root.id).path, 5)
    assert "begun by process" in begun and finished.endswith(" finished")
    assert last_lines(Journal(tmp_path, middle.id).path)[0].endswith(" error: m0: cannot be made")


def test_what_making_took_is_noted_beside_the_work_and_the_time_only_where_all_of_it_was_seen(behaving, tmp_path):
    root, middle, _ = toy_worker.planned(tmp_path, 1)
    playing(tmp_path).make([root])
    cost = read_cost(tmp_path, root.id)
    assert 10 < cost["peak_mib"] < 100_000 and 0 <= cost["seconds"] < 100
    assert root.read_record().keys() == {"id", "kind", "key", "inputs", "digest"}  # the same whenever it is made
    middle.begin()  # by a process that was killed
    playing(tmp_path).make([middle])
    assert read_cost(tmp_path, middle.id).keys() == {"peak_mib"}


def test_who_has_nothing_to_do_helps_whoever_makes_what_it_waits_for(behaving, tmp_path, monkeypatch):
    root = replace(toy_worker.planned(tmp_path)[0], task="to know what it is")
    held = Lease(root.folder, "another command")
    assert held.try_take()
    helped = []

    def help(self, artefact, tools):
        helped.append(artefact)
        held.release()
        raise BadInput("whatever", "goes wrong for the one who makes it, too")

    monkeypatch.setattr(toy_worker.Behaving, "help", help, raising=False)
    playing(tmp_path).make([root])
    assert helped == [root] and root.done
