"""What is run, as values: presets (the scale) and tables (the rows), read strictly from TOML.

in: `swdb/presets/*.toml`, `tables/table*.toml` -> out: frozen dataclasses, or one error naming file, row, key and mend

Every hyper-parameter has its one home here, with its unit, where it comes from and a status:
STATED (the paper, or those who quote it, say so), INFERRED (follows from something stated), UNKNOWN (our choice).
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from swdb import synthetic
from swdb.errors import BadInput, nearest
from swdb.strict import read_dataclass, read_toml

PACKAGE = Path(__file__).parent

STATED, INFERRED, UNKNOWN = "STATED", "INFERRED", "UNKNOWN"


def knob(unit: str, status: str, why: str, **options: Any) -> Any:
    """Declare a hyper-parameter of a preset: its unit, status and reason (or source)."""
    return field(metadata={"unit": unit, "status": status, "why": why}, **options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Which data set, and how large its lists must be."""

    dataset: str = knob("synthetic or voc", STATED, "Table 1's caption: PASCAL VOC val")
    name: str = knob("folder below data/", UNKNOWN, "a partial or redrawn data set gets a name of its own")
    num_classes: int = knob("classes with background", STATED, "VOC: 20 and background")
    num_strong: int = knob("images", INFERRED, "'1.4k strong' is VOC's train list of 1,464")
    num_train: int = knob(
        "images, strong ones included", INFERRED, "'10k' is train_aug, 10,582; '9k' is the rest, 9,118"
    )
    num_val: int = knob("images", INFERRED, "VOC's val list of 1,449")
    seed: int = knob("any whole number", UNKNOWN, "draws the synthetic data set; unused for photographs", default=0)
    image_size: int = knob("pixels, longest side", INFERRED, "VOC images are at most 500 pixels", default=500)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """Backbone, neck and heads."""

    backbone: str = knob("small, squeezenet1_1 or vgg16", STATED, "Table 2: VGG16")
    weights: str = knob(
        "pretext, imagenet, imagenet-caffe or random", INFERRED, "pre-trained VGG16; which copy is not said"
    )
    neck_channels: int = knob("channels of the n shared layers", UNKNOWN, "VGG16's own width")
    head_channels: int = knob("channels of a branch's own layers", UNKNOWN, "DeepLab-LargeFOV's fc6 and fc7")
    head_dilation: int = knob("feature cells", UNKNOWN, "DeepLab-LargeFOV's fc6")
    dropout: float = knob("probability", UNKNOWN, "DeepLab-LargeFOV's fc6 and fc7")
    neck_spread: float = knob(
        "share of He's initial values",
        UNKNOWN,
        "neck layers begin as the identity plus this much noise, so that n=3 trains as stably as n=0",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One schedule for all rows of a preset."""

    steps: int = knob(
        "optimizer steps", INFERRED, "20 epochs [stated] of 10,582 images at batch 16, the same for all rows"
    )
    batch: int = knob("images", STATED, "16, quoted from the main paper by the CENG501 reproduction")
    crop: int = knob("pixels, square", STATED, "328, quoted as above")
    scale_min: float = knob("factor", UNKNOWN, "'random scaling'; the range is DeepLab's habit")
    scale_max: float = knob("factor", UNKNOWN, "as scale_min")
    lr_backbone: float = knob("Adam's step", STATED, "5e-6, quoted as above")
    lr_new: float = knob("Adam's step", STATED, "1e-4 for the newly added layers, quoted as above")
    warmup: int = knob("steps of a linear rise", UNKNOWN, "none is mentioned", default=0)
    clip_norm: float = knob("largest norm of all gradients, 0 for none", UNKNOWN, "none is mentioned", default=0.0)
    decay_at: float = knob("share of the steps", STATED, "12 of 20 epochs, quoted as above", default=0.6)
    decay_factor: float = knob("factor", STATED, "'decayed by a factor of ten', quoted as above", default=0.1)
    weight_decay: float = knob("per step, L2 in the gradient", STATED, "1e-4, quoted as above", default=1e-4)
    kl_weight: float = knob("factor", STATED, "equation 2: L_data + L_kl", default=1.0)
    strong_share: float = knob("share of a dual batch", UNKNOWN, "half from each branch's set", default=0.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """How image-level labels become proxy masks."""

    method: str = knob("cam", INFERRED, "the paper uses DSRG; class activation maps are its first step")
    steps: int = knob("optimizer steps of the classifier", UNKNOWN, "enough to fit the tags")
    batch: int = knob("images", UNKNOWN, "")
    lr: float = knob("Adam's step", UNKNOWN, "")
    threshold: float = knob(
        "share of a map's maximum", UNKNOWN, "below it a pixel is background; SEC and DSRG take 0.2 for cues"
    )
    decay_at: float = knob("share of the steps", UNKNOWN, "", default=0.7)
    decay_factor: float = knob("factor", UNKNOWN, "", default=0.1)
    pretext_steps: int = knob(
        "optimizer steps", UNKNOWN, "training of the initial weights where they are made here", default=0
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How a branch's prediction is scored."""

    scales: tuple[float, ...] = knob("factors", UNKNOWN, "multi-scale testing is not mentioned", default=(1.0,))
    flip: bool = knob("yes or no", UNKNOWN, "not mentioned", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """A scale at which all tables run."""

    name: str
    title: str
    comparable: bool  # whether a difference to the paper's values means anything
    seeds: int
    data: Data
    network: Network
    training: Training
    proxy: Proxy
    evaluation: Evaluation


# What a branch may learn from; the words of the printed tables stand in each row's labels.
LABEL_SETS = {
    "strong": "the strong images with their masks ('1.4k strong')",
    "strong+weak": "the strong images with masks, all others with proxy masks ('1.4k strong + 9k weak')",
    "weak": "all images with proxy masks ('10k weak')",
    "all-strong": "all images with masks ('10k strong')",
}
BRANCHES = ("strong", "weak")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What one training varies; two rows with the same values share the training."""

    name: str
    strong_branch: str  # label set of the branch that predicts; the only one where weak_branch is missing
    weak_branch: str | None = None
    oversample: int = 1  # how often the strong images stand in a mixed set
    shared_layers: int = 3  # the paper's n: "We use n = 3 in the main experiments"
    kl: bool = False  # equation 1
    proxy_set: int = 1
    start_from: str | None = None  # the name of a run whose last weights this one begins with
    strong_per_class: int | None = None  # Table 4: strong images a class, drawn by seed

    @property
    def dual(self) -> bool:
        """Whether the run has two branches."""
        return self.weak_branch is not None

    @property
    def needs_proxies(self) -> bool:
        """Whether any of its label sets holds proxy masks."""
        return any(labels in ("weak", "strong+weak") for labels in (self.strong_branch, self.weak_branch))


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of values: measured from a branch's prediction, or quoted from the literature."""

    key: str
    title: str
    branch: str | None = None  # missing: a literature column
    provenance: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a printed table."""

    key: str
    labels: tuple[str, ...]
    run: Recipe
    paper: dict[str, float]  # printed value for each column's key, mIoU in %
    in_text: bool = False  # printed in the text, not in the table


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What the paper states of two cells, written row.column: `lower` is worse than `higher`, or equal to it."""

    text: str
    lower: str
    higher: str
    equal: bool = False  # the paper says that there is no difference


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """One printed table."""

    number: int
    title: str
    label_titles: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]

    def cells(self) -> list[tuple[Row, Column]]:
        """List the cells that are measured, row by row."""
        return [(row, column) for row in self.rows for column in self.columns if column.branch]


# ---------------------------------------------------------------- presets


def preset_names() -> list[str]:
    """List the presets that can be named."""
    return sorted(path.stem for path in (PACKAGE / "presets").glob("*.toml"))


def load_preset(name: str) -> Preset:
    """Read a preset by its name, or from a TOML file of the user's."""
    path = Path(name) if name.endswith(".toml") else PACKAGE / "presets" / f"{name}.toml"
    if not path.is_file():
        raise BadInput(f"unknown preset {name!r}; {nearest(name, preset_names())}")
    preset = read_dataclass(Preset, read_toml(path), path.name)
    _check_ranges(preset, path.name)
    return preset


def _check_ranges(preset: Preset, where: str) -> None:
    """Refuse values that no run could be made with."""
    data, training = preset.data, preset.training
    words = (
        ("data.dataset", data.dataset, ("synthetic", "voc")),
        ("network.backbone", preset.network.backbone, ("small", "squeezenet1_1", "vgg16")),
        ("network.weights", preset.network.weights, ("pretext", "imagenet", "imagenet-caffe", "random")),
        ("proxy.method", preset.proxy.method, ("cam",)),
    )
    for key, word, known in words:
        if word not in known:
            raise BadInput(f"{where}: key {key!r}: unknown {word!r}; {nearest(word, known)}")
    checks = (
        (data.name not in ("", ".", "..") and "/" not in data.name, "data.name", "a folder's name"),
        (data.image_size > 0, "data.image_size", "1 or more"),
        (0 <= preset.network.dropout < 1, "network.dropout", "0 to below 1"),
        (preset.network.neck_channels > 0, "network.neck_channels", "1 or more"),
        (preset.proxy.batch > 0, "proxy.batch", "1 or more"),
        (0 < data.num_strong <= data.num_train, "data.num_strong", "1 to data.num_train"),
        (2 <= data.num_classes <= 21, "data.num_classes", "2 to 21"),
        (data.num_val > 0, "data.num_val", "1 or more"),
        (
            data.dataset != "synthetic" or data.num_classes == len(synthetic.CLASSES),
            "data.num_classes",
            f"{len(synthetic.CLASSES)}, as drawn",
        ),
        (training.steps > 0, "training.steps", "1 or more"),
        (training.batch >= 2 and training.batch % 2 == 0, "training.batch", "an even number, 2 or more"),
        (training.crop >= 16, "training.crop", "16 or more"),
        (0 < training.scale_min <= training.scale_max, "training.scale_min", "above 0 and at most training.scale_max"),
        (
            1 <= round(training.batch * training.strong_share) < training.batch,
            "training.strong_share",
            "a share that leaves both branches an image of each batch",
        ),
        (training.lr_backbone > 0, "training.lr_backbone", "above 0"),
        (training.lr_new > 0, "training.lr_new", "above 0"),
        (training.warmup >= 0, "training.warmup", "0 or more"),
        (preset.proxy.steps > 0, "proxy.steps", "1 or more"),
        (preset.proxy.lr > 0, "proxy.lr", "above 0"),
        (preset.network.head_dilation > 0, "network.head_dilation", "1 or more"),
        (preset.network.weights != "pretext" or data.dataset == "synthetic", "network.weights", "another than pretext"),
        (0 <= training.decay_at <= 1, "training.decay_at", "0 to 1"),
        (preset.seeds > 0, "seeds", "1 or more"),
        (all(scale > 0 for scale in preset.evaluation.scales), "evaluation.scales", "factors above 0"),
    )
    for holds, key, expected in checks:
        if not holds:
            raise BadInput(f"{where}: key {key!r} is out of range; expected {expected}")


# ---------------------------------------------------------------- tables


def tables_folder() -> Path:
    """Return where the table specs lie: beside the package in a checkout, inside it in a wheel."""
    inside = PACKAGE / "tables"
    return inside if inside.is_dir() else PACKAGE.parent / "tables"


def load_tables(folder: Path | None = None) -> dict[int, Table]:
    """Read every table spec, by number; raises BadInput where rows contradict each other."""
    folder = folder or tables_folder()
    tables, found = {}, {}
    for path in sorted(folder.glob("table*.toml")):
        table = _read_table(path)
        if table.number in tables:
            raise BadInput(f"{path.name}, key 'number': {found[table.number]} is table {table.number} too")
        tables[table.number] = table
        found[table.number] = path.name
    if not tables:
        raise BadInput(f"no table specs (table*.toml) in {folder}")
    recipes = all_recipes(tables)
    for table in tables.values():
        for row in table.rows:
            seen, name = [row.run.name], row.run.start_from
            while name is not None:
                where = f"{found[table.number]}, row {row.key!r}, key 'start_from'"
                if name not in recipes:
                    raise BadInput(f"{where}: unknown run {name!r}; {nearest(name, recipes)}")
                if name in seen:
                    raise BadInput(f"{where}: run {name!r} starts from itself")
                if (recipes[name].shared_layers, recipes[name].dual) != (row.run.shared_layers, row.run.dual):
                    raise BadInput(f"{where}: run {name!r} has another network; expected the same n and branches")
                seen.append(name)
                name = recipes[name].start_from
    return tables


def all_recipes(tables: dict[int, Table]) -> dict[str, Recipe]:
    """List every training of the tables once, by name; the same name must mean the same values, and the other way round."""
    recipes: dict[str, Recipe] = {}
    names: dict[Recipe, str] = {}
    for table in tables.values():
        for row in table.rows:
            known = recipes.setdefault(row.run.name, row.run)
            where = f"table{table.number}.toml, row {row.key!r}, key 'run'"
            for f in fields(Recipe):
                if getattr(known, f.name) != getattr(row.run, f.name):
                    raise BadInput(
                        f"{where}: run {known.name!r} has another {f.name!r} in another row; give it another name"
                    )
            same = names.setdefault(replace(row.run, name=""), known.name)
            if same != known.name:
                raise BadInput(
                    f"{where}: the runs {same!r} and {known.name!r} have the same values; give them one name, so that they share the training"
                )
    return recipes


def _read_table(path: Path) -> Table:
    raw = read_toml(path)
    where = path.name
    lists = {"row": "rows", "column": "columns", "claim": "claims"}
    known = {f.name for f in fields(Table)} - set(lists.values()) | set(lists)
    for key in raw:
        if key not in known:
            raise BadInput(f"{where}: unknown key {key!r}; {nearest(key, known)}")
    for singular, plural in lists.items():
        raw[plural] = raw.pop(singular, [])
    table = read_dataclass(Table, raw, where)
    if not table.rows:
        raise BadInput(f"{where}: no [[row]] found, expected at least one")
    for column in table.columns:
        if column.branch not in (None, *BRANCHES):
            raise BadInput(
                f"{where}, column {column.key!r}: unknown branch {column.branch!r}; {nearest(column.branch, BRANCHES)}"
            )
    for kind, entries in (("row", table.rows), ("column", table.columns)):
        keys = [entry.key for entry in entries]
        for key in keys:
            if keys.count(key) > 1:
                raise BadInput(f"{where}, {kind} {key!r}: the key is there twice; give each {kind} a key of its own")
    for row in table.rows:
        _check_row(row, table, f"{where}, row {row.key!r}")
    cells = {f"{row.key}.{column.key}" for row, column in table.cells()}
    for claim in table.claims:
        for end in (claim.lower, claim.higher):
            if end not in cells:
                raise BadInput(f"{where}, claim {claim.text!r}: unknown cell {end!r}; {nearest(end, cells)}")
    return table


def _check_row(row: Row, table: Table, where: str) -> None:
    """Refuse a row that does not fit its table, or a training that cannot be made."""
    if len(row.labels) != len(table.label_titles):
        raise BadInput(
            f"{where}: found {len(row.labels)} labels, expected {len(table.label_titles)} as in label_titles"
        )
    columns = [column.key for column in table.columns]
    for key in (*row.paper, *columns):
        if key not in columns:
            raise BadInput(f"{where}, key 'paper': unknown column {key!r}; {nearest(key, columns)}")
        if key not in row.paper:
            raise BadInput(f"{where}, key 'paper': the printed value of column {key!r} is missing")
    run = row.run
    for key in ("strong_branch", "weak_branch"):
        labels = getattr(run, key)
        if labels is not None and labels not in LABEL_SETS:
            raise BadInput(f"{where}, key {key!r}: unknown label set {labels!r}; {nearest(labels, LABEL_SETS)}")
    checks = (
        (run.shared_layers >= 0, "shared_layers", "0 or more"),
        (run.oversample >= 1, "oversample", "1 or more"),
        (run.proxy_set in (1, 2), "proxy_set", "1 or 2"),
        (run.strong_per_class is None or run.strong_per_class >= 1, "strong_per_class", "1 or more"),
        (
            run.oversample == 1 or "strong+weak" in (run.strong_branch, run.weak_branch),
            "oversample",
            "1, as no set is mixed",
        ),
        (run.proxy_set == 1 or run.needs_proxies, "proxy_set", "none, as no set holds proxies"),
        (not run.kl or run.dual, "kl", "false, for there is no weak_branch"),
        (
            run.dual or all(column.branch != "weak" for column in table.columns),
            "weak_branch",
            "a label set, for a column is scored by the weak branch",
        ),
    )
    for holds, key, expected in checks:
        if not holds:
            raise BadInput(f"{where}: key {key!r} is out of range; expected {expected}")
