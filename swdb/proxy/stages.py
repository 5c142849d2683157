"""The stages that make seed cues, proxy masks, the score of the network behind them and the report on their quality."""

from typing import Any

from swdb.core.artefact import Artefact
from swdb.core.errors import NotNamed
from swdb.core.stage import Tools
from swdb.specs.settings import fingerprint
from swdb.specs.study import Study, seed_key, seeded
from swdb.specs.tasks import CuesTask, ProxiesTask


class CuesStage:
    """The seed cues that DSRG grows: from a classifier's activation maps, or from a published file."""

    kind, version, folder = "cues", 1, "cues"

    def artefact(self, study: Study, data: Artefact, classifier: Artefact | None, seed: int = 0) -> Artefact:
        """Plan cues from a classifier of a seed or, where there is none, from the file that was named."""
        preset = study.preset
        proxy, longest_side = preset.proxy, preset.training.longest_side
        if classifier is None:
            file = study.files.get("cues")
            if file is None:
                found = f"not given, and preset {preset.name!r} makes its proxies from published seed cues"
                raise NotNamed("--cues", found, "a localization_cues.pickle(.gz) or a cues.npz, named once")
            task = CuesTask(file, None, proxy, longest_side)
            return study.artefact(self, "cues-file", dict(file.digests), (data,), task)
        saliency = study.files.get("saliency")
        settings = fingerprint(proxy)
        key = {name: settings[name] for name in ("threshold", "cam_sizes", "background_share")}
        key["precision"] = study.precision
        if saliency is not None:
            key |= {**saliency.digests, "saliency_threshold": proxy.saliency_threshold}
        task = CuesTask(None, saliency, proxy, longest_side)
        return study.artefact(self, seeded("cues-classifier", seed), key, (data, classifier), task)

    def check(self, artefact: Artefact, tools: Tools) -> None:
        """Look at the files that were named, before anything is trained."""
        from swdb.proxy.cues import look_at_maps, verify_cues

        task: CuesTask = artefact.task
        if task.file is not None:
            verify_cues(task.file)
        if task.saliency is not None:
            look_at_maps(task, tools.store(artefact.input("data"), task.longest_side), tools)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Read them from the file, or off the classifier's maps."""
        from swdb.proxy.cues import make_cue_artefact

        return make_cue_artefact(artefact, tools)

    def help(self, artefact: Artefact, tools: Tools) -> None:
        """Look at images for another process that reads cues off a classifier's maps."""
        from swdb.proxy.cues import help_with_cues

        help_with_cues(artefact, tools)


class ProxiesStage:
    """Proxy masks of all training images by DSRG; set 2 comes from its retrain round on set 1."""

    kind, version, folder = "proxies", 2, "proxies"

    def artefact(self, study: Study, proxy_set: int, inputs: tuple[Artefact, ...], seed: int = 0) -> Artefact:
        """Plan a set: the first on data, weights and cues, the second on data and the first."""
        preset = study.preset
        dsrg, longest_side = fingerprint(preset.dsrg), preset.training.longest_side
        of_set = {name: value for name, value in dsrg.items() if name.startswith("retrain") == (proxy_set == 2)}
        key: dict[str, Any] = {"set": proxy_set, "dsrg": of_set, **seed_key(seed), **study.arithmetic}
        if proxy_set == 1:
            key |= {"backbone": preset.network.backbone, "longest_side": longest_side}
        image_side = longest_side or preset.data.image_size
        task = ProxiesTask(proxy_set, preset.network.backbone, preset.dsrg, longest_side, image_side, seed)
        steps = preset.dsrg.steps if proxy_set == 1 else preset.dsrg.retrain_steps
        return study.artefact(self, seeded(f"dsrg-{proxy_set}", seed), key, inputs, task, steps=steps)

    def room(self, artefact: Artefact, tools: Tools) -> int:
        """Count the network's values."""
        from swdb.nn.checkpoints import room_for
        from swdb.nn.networks import BACKBONES, valueless
        from swdb.proxy.dsrg import DsrgNetwork

        task: ProxiesTask = artefact.task
        with valueless():
            num_classes = tools.dataset(artefact.input("data")).num_classes
            return room_for(DsrgNetwork(BACKBONES[task.backbone](), task.dsrg, num_classes))

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Train, and label every training image."""
        from swdb.proxy.masks import make_proxies

        return make_proxies(artefact, tools)

    def help(self, artefact: Artefact, tools: Tools) -> None:
        """Label images of a set that another process has trained."""
        from swdb.proxy.masks import help_with_masks

        help_with_masks(artefact, tools)


class QualityStage:
    """How good a set of proxies is, where true masks exist: a diagnosis that nothing reads back."""

    kind, version, folder = "quality", 1, "proxies"

    def artefact(self, study: Study, data: Artefact, cues: Artefact, proxies: Artefact) -> Artefact:
        """Plan the report; it lies beside the masks."""
        place = {"folder": proxies.folder, "record_name": "quality.json", "shares_folder": True}
        return study.artefact(self, f"{proxies.name}-quality", {}, (data, cues, proxies), **place)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Compare masks and cues with the truth, and write the report."""
        from swdb.proxy.quality import make_quality

        return make_quality(artefact, tools)


class DsrgScoreStage:
    """How good DSRG's own network of a set is on val: a diagnosis that nothing is made from."""

    kind, version, folder = "dsrg-score", 1, "proxies"

    def artefact(self, study: Study, data: Artefact, proxies: Artefact, quality: Artefact) -> Artefact:
        """Plan the score; it lies beside the masks, and on the page of their quality."""
        place = {"folder": proxies.folder, "record_name": "val.json", "shares_folder": True}
        key = {"set": proxies.key["set"]}
        return study.artefact(self, f"{proxies.name}-val", key, (data, proxies, quality), **place)

    def make(self, artefact: Artefact, tools: Tools) -> dict[str, Any]:
        """Look at val in all ways, and count."""
        from swdb.proxy.val_score import score_network

        return score_network(artefact, tools)
