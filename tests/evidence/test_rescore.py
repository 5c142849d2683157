"""Everything follows from the pixels: scores, verdicts, tables, byte for byte."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from bundles import contents, findings, spoiled, the_name, written
from conftest import REPOSITORY
from cued import graph as cued_graph
from drawn import ROWS, drawn_study, finish
from voc_tree import save_mask

from swdb.core.errors import BadInput, MissingArtefact
from swdb.core.files import write_json
from swdb.core.progress import silent
from swdb.data.images import read_mask
from swdb.evidence.bundle import bundle
from swdb.evidence.layout import ABOUT, CLAIMS, CRATE
from swdb.evidence.rescore import rescored
from swdb.reports.dsrg_networks import RECORD as NETWORK
from swdb.reports.dsrg_networks import WAYS
from swdb.reports.mask_scores import RECORD as QUALITY
from swdb.specs.presets import as_toml
from swdb.specs.tables import load_tables
from swdb.study.plan import read_plan


def test_a_bundle_holds_as_it_was_written(ours):
    with rescored(ours, None, silent) as found:
        assert found.holds and found.scores == 14 and found.predictions == 14 * 6


def test_what_dsrg_s_networks_score_is_in_a_bundle_and_in_its_tables(tmp_path):
    graph = drawn_study(tmp_path / "work", [0], rows=ROWS)
    ways = [{"key": key, "views": [32], "miou": 25.0, "counts": [[1, 1], [0, 0]]} for key in WAYS]
    for number in (1, 2):
        published = {"miou": 57.4, "source": "somewhere"}
        write_json(graph.proxies(number).folder / NETWORK, {"set": number, "ways": ways, "published": published})
    path = written(graph, tmp_path / "ours.zip")
    said = json.loads(contents(path)["reports/tiny/table2.json"])["proxy_use"]["networks"]
    assert said and all(network["miou"]["one"] == 25.0 for network in said.values())
    with rescored(path, None, silent) as found:
        assert found.holds


def test_the_regime_check_is_in_a_bundle_and_follows_from_its_scores_and_its_quality_report(tmp_path):
    graph = drawn_study(tmp_path / "work", [0, 1], rows={*ROWS, "all-strong"})
    proxies = graph.proxies(1)
    report = {"name": proxies.id, "set": 1, "masks": {"miou": 50.0}, "confusion": {"true_by_proxy": [[2, 1], [1, 2]]}}
    write_json(proxies.folder / QUALITY, report)
    path = written(graph, tmp_path / "ours.zip")
    ledger = json.loads(contents(path)["reports/tiny/ledger.json"])
    conditions = ledger["regime"]["conditions"]
    assert [one["seeds"] for one in conditions] == [[0, 1]] * 3 and conditions[2]["lower"] == 50.0
    assert json.loads(contents(path)[CLAIMS])["predicate"]["regime"] == ledger["regime"]
    assert "regime check: " in contents(path)["reports/tiny/table4.md"].decode()
    with rescored(path, None, silent) as found:
        assert found.holds
    better = report | {"masks": {"miou": 60.0}, "confusion": {"true_by_proxy": [[3, 1], [1, 3]]}}
    others = {"another report": json.dumps(better).encode(), "damaged": b"{", "missing": None}
    for name, change in others.items():
        changed = spoiled(path, tmp_path / f"{name}.zip", {f"proxies/{proxies.id}/{QUALITY}": change}, listed=True)
        assert any(one.where == "reports/tiny/ledger.json" for one in findings(changed)), name


def test_thresholds_that_were_edited_in_a_bundle_are_found(ours, tmp_path):
    name = "reports/tiny/ledger.json"

    def easier(content: bytes) -> bytes:
        assert b'"points": 6.0' in content
        return content.replace(b'"points": 6.0', b'"points": 1.0')

    assert any(one.where == name for one in findings(spoiled(ours, tmp_path / "x.zip", {name: easier}, listed=True)))


def test_a_score_that_was_edited_is_found_and_what_the_predictions_say_is_gone_on_with(ours, tmp_path):
    name = the_name(ours, "/evals/val-strong/result.json")

    def better(content: bytes) -> bytes:
        record = json.loads(content)
        return json.dumps({**record, "miou": record["miou"] + 1}).encode()

    found = findings(spoiled(ours, tmp_path / "x.zip", {name: better}, listed=True))
    assert found[0].where == name and found[0].found.startswith("mIoU ") and "its predictions come to" in found[0].found
    assert not any(one.where.endswith("table1.md") for one in found)  # that one is still what follows from the pixels


def test_the_iou_of_a_class_that_was_edited_is_named(ours, tmp_path):
    name = the_name(ours, "/evals/val-weak/result.json")

    def better(content: bytes) -> bytes:
        record = json.loads(content)
        return json.dumps({**record, "iou": {**record["iou"], "beta": 99.0}}).encode()

    found = findings(spoiled(ours, tmp_path / "x.zip", {name: better}, listed=True))
    assert found[0].where == name and found[0].found == "IoU of beta is not what the predictions come to"


@pytest.mark.parametrize(
    "name",
    ["reports/tiny/table2.md", "reports/tiny/table4.csv", "reports/tiny/ledger.json", CLAIMS, "environment.json"],
)
def test_what_does_not_follow_from_the_scores_is_named_with_its_line(ours, tmp_path, name):
    def change(content: bytes) -> bytes:
        lines = content.split(b"\n")
        return b"\n".join([*lines[:3], lines[3] + b" ", *lines[4:]])

    found = findings(spoiled(ours, tmp_path / "x.zip", {name: change}, listed=True))
    assert [one.found for one in found if one.where == name] == ["is not what follows from the scores (line 4)"]


def test_a_bundle_that_says_less_is_missing_is_found(ours, tmp_path):
    change = lambda content: json.dumps({**json.loads(content), "missing": [{"id": "x", "kind": "run"}]}).encode()  # noqa: E731
    assert any(one.where == ABOUT for one in findings(spoiled(ours, tmp_path / "x.zip", {ABOUT: change}, listed=True)))


def test_counts_and_score_that_were_forged_together_are_found_by_the_pixels(ours, tmp_path):
    place = the_name(ours, "/evals/val-strong/confusion.npz")

    def forged(content: bytes) -> bytes:
        (tmp_path / "counts.npz").write_bytes(content)
        with np.load(tmp_path / "counts.npz") as found:
            counts, ids = found["counts"].copy(), found["ids"]
        counts[0, 0, 0] += 7
        np.savez_compressed(tmp_path / "counts.npz", ids=ids, counts=counts)
        return (tmp_path / "counts.npz").read_bytes()

    found = findings(spoiled(ours, tmp_path / "x.zip", {place: forged}, listed=True))
    assert "7 pixels are not as counted (background taken for background" in found[0].found
    assert "/predictions/" in found[0].where


def test_drawn_scenes_may_be_scored_against_a_data_set_that_is_named(tmp_path):
    graph = drawn_study(tmp_path / "work", [0], rows={"strong"})
    whole = written(graph, tmp_path / "x.zip")
    with rescored(whole, graph.data.folder, silent) as found:
        assert found.holds
    voc = graph.data.folder / "VOCdevkit" / "VOC2012"
    image_id = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()[0]
    mask = voc / "SegmentationClass" / f"{image_id}.png"
    labels = read_mask(mask, 21).copy()
    labels[0, 0] = 2 if labels[0, 0] != 2 else 1
    save_mask(mask, labels)
    with rescored(whole, graph.data.folder, silent) as found:
        assert not found.holds and any(image_id in str(one) for one in found.findings)


def test_photographs_need_their_masks_and_others_are_refused(tmp_path):
    graph = cued_graph(tmp_path)
    finish(graph, [0], rows={"strong"})
    output = tmp_path / "x.zip"
    bundle(graph.study, read_plan(graph.study), as_toml(graph.study.preset), load_tables(), [1], output, silent)
    with pytest.raises(MissingArtefact) as caught, rescored(output, None, silent):
        pass
    assert caught.value.subject == "--data" and "no bundle" in caught.value.found
    assert "the data set 'mini' of sha256" in caught.value.expected
    mask = graph.data.folder / "VOCdevkit/VOC2012/SegmentationClass/2007_000005.png"
    labels = read_mask(mask, 21).copy()
    labels[0, 0] = 3
    save_mask(mask, labels)
    with rescored(output, tmp_path / "work", silent) as found:
        assert (
            str(mask) in str(found.findings[0])
            and "is not the true mask that was scored against" in found.findings[0].found
        )


WITHOUT_TORCH = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Refuse())
from swdb.cli.app import app
app(prog_name="swdb")
"""


@pytest.mark.parametrize("verb", ["rescore", "merge"])
def test_it_works_where_torch_cannot_be_imported(ours, theirs, tmp_path, verb):
    words = (
        [verb, str(ours)] if verb == "rescore" else [verb, str(ours), str(theirs), "--output", str(tmp_path / "c.zip")]
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "holds: " in done.stdout if verb == "rescore" else "seeds 0, 1, 2" in done.stdout


def test_a_bundle_of_another_version_says_so(ours, tmp_path):
    def older(content: bytes) -> bytes:
        said = json.loads(content)
        return json.dumps({**said, "versions": {**said["versions"], "swdb": "0.0.9"}}).encode()

    found = findings(spoiled(ours, tmp_path / "x.zip", {ABOUT: older}, listed=True))
    assert any("swdb 0.0.9 wrote the bundle" in one.expected for one in found)


def test_a_score_without_the_record_of_its_run_is_found(ours, tmp_path):
    name = next(
        name for name in sorted(contents(ours)) if name.startswith("runs/strong-s0-") and name.endswith("/done.json")
    )
    files = contents(ours)
    listed = [line for line in files[CRATE].decode().splitlines() if f'"@id": "{name}", "@type": "File"' not in line]
    said = [
        str(one) for one in findings(spoiled(ours, tmp_path / "x.zip", {name: None, CRATE: "\n".join(listed).encode()}))
    ]
    assert any(one.startswith(f"{name}: missing, and strong-s0-") for one in said)


def test_a_data_set_that_is_not_there_is_no_fault_of_the_bundle(ours, tmp_path):
    with pytest.raises(MissingArtefact) as caught, rescored(ours, tmp_path / "nowhere", silent):
        pass
    assert str(caught.value.subject).startswith("--data ") and "not prepared" in caught.value.found


def test_drawn_scenes_may_be_named_too(ours, study):
    with rescored(ours, study.study.folder, silent) as found:
        assert found.findings == []


# ---------------------------------------------------------------- what a forger may write


def edited(change):
    """Return what rewrites JSON."""

    def write(content):
        found = json.loads(content)
        change(found)
        return json.dumps(found).encode()

    return write


def test_a_file_that_is_listed_with_another_size_is_found(ours, tmp_path):
    def longer(content):
        lines = content.decode().splitlines()
        place = next(k for k, line in enumerate(lines) if "predictions/" in line and "contentSize" in line)
        lines[place] = re.sub(r'("contentSize": ")(\d+)', r"\g<1>1\g<2>", lines[place])
        return ("\n".join(lines) + "\n").encode()

    found = findings(spoiled(ours, tmp_path / "x.zip", {CRATE: longer}))
    assert any("bytes; no pixel that counts is another one" in one.found for one in found)


@pytest.mark.parametrize("damage", ["other", None])
def test_a_true_mask_that_a_named_data_set_stands_in_for_is_checked_all_the_same(ours, study, tmp_path, damage):
    name = next(name for name in contents(ours) if name.startswith("data/") and name.endswith(".png"))
    path = spoiled(ours, tmp_path / "x.zip", {name: damage and (lambda content: content + b"more")})
    with rescored(path, study.study.folder, silent) as found:
        assert name in [one.where for one in found.findings] and not found.holds


@pytest.mark.parametrize("key", [None, 7, ["file"]])
def test_a_record_of_weights_without_values_is_no_crash(ours, tmp_path, key):
    name = next(name for name in contents(ours) if name.startswith("weights/") and name.endswith("done.json"))
    change = edited(lambda found: found.update(key=key))
    found = findings(spoiled(ours, tmp_path / "x.zip", {name: change}, listed=True))
    assert name in [one.where for one in found]


@pytest.mark.parametrize(
    "files", [{"weights": {}}, {"weights": {"file": 7}}, {"saliency": {"file": "0"}}, {"cues": None}]
)
def test_a_plan_whose_named_files_have_no_digests_is_no_crash(ours, tmp_path, files):
    name = the_name(ours, "plan.json")
    change = edited(lambda found: found["study"].update(files=files))
    found = findings(spoiled(ours, tmp_path / "x.zip", {name: change}, listed=True))
    assert name in [one.where for one in found]


@pytest.mark.parametrize("parts", [["x"], [{}], [{"sha256": 7}], "parts"])
def test_parts_that_are_none_are_refused(ours, tmp_path, parts):
    change = edited(lambda found: found.update(parts=parts))
    with (
        pytest.raises(BadInput, match="another form"),
        rescored(spoiled(ours, tmp_path / "x.zip", {ABOUT: change}), None, silent),
    ):
        pass
