"""The shape of the package: one reading order, one file that draws, one that parses, help without torch."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "swdb"

# The reading order, folder by folder and module by module: from facts to the command line. A module imports only what
# stands before it, so a folder imports only folders that stand before it.
HOUSE = {
    "core": ("errors", "names", "progress", "lease", "journal", "files", "shares", "folders", "artefact", "stage", "processor", "numbers", "markdown", "parallel", "identity"),
    "specs": (
        "settings", "toml", "crf_parameters", "preprocessing", "decoupled", "dsrg", "presets", "choices", "register", "methods", "changes", "claims", "regime", "runs", "tables", "sentences", "sensitivity", "study", "tasks",
    ),
    "data": ("facts", "voc", "synthetic", "kinds", "images", "dataset", "agreement", "audit", "resident", "decoded", "store", "split_lists", "split_audit"),
    "data.sources": ("archives", "places", "tags", "download", "sbd", "voc2012", "importer"),
    "data (what needs the sources)": ("prepare", "stages"),
    "nn": (
        "depthwise", "efficientnet", "networks", "losses", "sampling", "cuda", "compute", "memory", "model", "checkpoints", "beside", "step", "trainer", "classifier", "weights_file", "packaged_weights", "initial_weights", "head_weights",
        "permutohedral", "dense_crf", "labelling", "stages",
    ),
    "methods": (
        "material", "strong_weak", "decoupled_network", "decoupled_prediction", "windows", "recognizer", "decouplednet",
        "method", "training", "stages",
    ),
    "evaluation": ("confusion", "definitions", "choices", "figures", "evaluate", "recognition", "geometry", "views", "kept", "lab_table", "lab", "peek", "stages"),
    "proxy": (
        "grid", "pickle_reader", "sec_cues", "cue_file", "evidence", "saliency", "cams", "cues", "region_growing", "dsrg",
        "labeller", "masks", "quality_page", "quality", "val_score", "stages",
    ),
    "verdicts": ("verdict", "spread", "contrasts", "rule", "images", "engine", "regime", "readings", "power", "simulation", "proxy_spread"),
    "reports": (
        "assumptions", "dsrg_networks", "proxy_use", "recognition", "mask_scores", "results", "notes", "regime", "ledger", "sentences", "sound", "ci", "tables", "latex", "rescience", "printed", "stages", "sensitivity",
        "svg", "charts", "sweeps", "second_branch", "side_by_side", "earlier", "published", "losses", "provenance", "deciding_images", "html_claims", "html",
    ),
    "study": (
        "stages", "graph", "readings", "plan", "workdir", "costs", "preregistration", "capacity", "queue", "workers", "runner", "worker", "figure",
    ),
    "evidence": (
        "layout", "crate", "rendered", "statement", "derived", "gather", "bundle", "bundle_reader", "records", "recount", "rescore",
        "merge", "output",
    ),
    "cluster": ("jobs", "slurm", "probe", "job", "status"),
    "timing": ("rates", "forecast", "price", "time_left", "random_set", "stopwatch", "operations", "plain_loop", "crowd", "benchmark", "card"),
    "cli": (
        "terminal", "command_line", "hints", "failures", "arguments", "console", "progress", "options", "outputs", "on_slurm", "prepare_voc", "make_proxy", "train", "lab", "evaluate",
        "peek", "proxy_costs", "judging", "until_decided", "planning", "showing", "sensitivity", "reproduce_table", "verify", "preregister", "plan", "report", "make", "status",
        "assumptions", "bench", "bundle", "rescore", "merge", "app",
    ),
}  # fmt: skip
ORDER = ("__init__", *(f"{folder.split()[0]}.{name}" for folder, names in HOUSE.items() for name in names), "__main__")
FOLDERS = tuple(dict.fromkeys(folder.split()[0] for folder in HOUSE))
# Whoever plans, reads or prints needs no torch; these modules compute.
HEAVY = {
    "data.resident", "data.store", "study.figure",
    "timing.stopwatch", "timing.operations", "timing.plain_loop", "timing.benchmark", "timing.card",
    *(f"nn.{name}" for name in HOUSE["nn"] if name != "stages"),
    *(f"methods.{name}" for name in HOUSE["methods"] if name != "stages"),
    "evaluation.evaluate", "evaluation.recognition", "evaluation.geometry", "evaluation.views", "evaluation.lab", "evaluation.peek",
    "proxy.cams", "proxy.cues", "proxy.region_growing", "proxy.dsrg", "proxy.labeller", "proxy.masks", "proxy.val_score", "proxy.quality",
}  # fmt: skip
NEVER = {"specs": "data", "methods": ("evaluation", "proxy"), "core": "cli"}  # beyond the order: these stay apart
WITHOUT_TEST_FILE = {"__init__", "__main__"}  # a docstring, and what every start of the command runs
MAX_FILE, MAX_FUNCTION = 400, 60  # lines: what is read in one sitting, and on one screen


def module_name(path: Path) -> str:
    """Name a file as an import does, without the package: `data.sources.sbd`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


PYTHON = sorted(PACKAGE.rglob("*.py"))
FILES = {module_name(path): path for path in PYTHON if path.parent == PACKAGE or path.name != "__init__.py"}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def imported(tree: ast.AST) -> list[str]:
    """List the full names of everything a module imports, wherever in it the import stands."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def own_modules(tree: ast.AST) -> set[str]:
    """List the modules of the package that a module imports, by their names in it."""
    inside = [name.removeprefix("swdb.") for name in imported(tree) if name.startswith("swdb.")]
    return {name if name in FILES else name.rpartition(".")[0] for name in inside}


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def public_definitions(body: list[ast.stmt], inside: str = "") -> list[tuple[str, ast.AST]]:
    """List public functions, classes and their methods; what stands inside a function is its own business."""
    found = []
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        found.append((f"{inside}{node.name}", node))
        if isinstance(node, ast.ClassDef):
            found += public_definitions(node.body, f"{node.name}.")
    return found


# ---------------------------------------------------------------- the order


def test_the_order_names_every_module_once():
    assert sorted(ORDER) == sorted(FILES)
    assert len(ORDER) >= 75


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_what_stands_before_it(module):
    before = set(ORDER[: ORDER.index(module)])
    assert own_modules(TREES[module]) - before == set()


def test_imports_inside_functions_are_seen():
    # the runner is loaded inside a function: were it not seen, the test above would prove little
    assert "study.runner" in own_modules(TREES["cli.options"])


@pytest.mark.parametrize(("folder", "others"), NEVER.items())
def test_some_folders_stay_apart(folder, others):
    others = (others,) if isinstance(others, str) else others
    reached = {
        own.split(".")[0] for name, tree in TREES.items() if name.startswith(f"{folder}.") for own in own_modules(tree)
    }
    assert reached.isdisjoint(others)


def test_the_package_has_the_folders_of_the_house_and_each_says_what_it_holds():
    folders = {module_name(path.parent) for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}
    assert folders == set(FOLDERS)
    assert all(
        ast.get_docstring(ast.parse((PACKAGE / name.replace(".", "/") / "__init__.py").read_text())) for name in FOLDERS
    )


# ---------------------------------------------------------------- who may use what


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("rich", {"cli.console", "cli.progress"}),
        ("typer", {"cli"}),
        ("filelock", {"core.lease"}),
        ("submitit", {"cluster.slurm", "cluster.job"}),
        ("matplotlib", {"reports.svg"}),
        ("jinja2", {"reports.html"}),
        ("pandas", {"reports.tables", "data.split_audit"}),
    ],
)
def test_a_library_has_one_home(library, homes):
    users = {name for name, tree in TREES.items() if any(i.split(".")[0] == library for i in imported(tree))}
    assert users and {name for name in users if name not in homes and name.split(".")[0] not in homes} == set()


def test_only_the_command_line_spells_commands():
    said = {
        name: [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "swdb " in node.value
        ]
        for name, tree in TREES.items()
        if not name.startswith("cli.")
    }
    docstrings = {
        ast.get_docstring(node, clean=False)
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
    }
    spelled = {
        name: [text for text in texts if text not in docstrings and "--" in text] for name, texts in said.items()
    }
    assert {name: texts for name, texts in spelled.items() if texts} == {}


def python(code: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_whoever_plans_reads_or_prints_loads_without_torch():
    light = [name for name in ORDER if name not in HEAVY and not name.startswith("__")]
    assert len(light) > 50
    imports = "; ".join(f"import swdb.{name}" for name in light)
    result = python(f"import sys; {imports}; print('torch' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


# Runs the real command line and says at the end, on the last line of stderr, whether torch was loaded.
WATCHED = """
import sys
from swdb.cli.app import app
try:
    app(prog_name="swdb")
finally:
    print("torch loaded:", "torch" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["reproduce-table", "all", "--dry-run", "--preset", TINY],
        ["reproduce-table", "4", "--no-train", "--preset", TINY],
        ["reproduce-table", "sensitivity", "--dry-run", "--preset", TINY],
        ["reproduce-table", "sensitivity", "--no-train", "--preset", TINY],
        ["verify", "--preset", TINY],
        ["plan", "--preset", TINY, "--device", "cpu"],
        ["preregister", "--preset", TINY],
    ],
    ids=[
        "help",
        "help of a command",
        "dry run",
        "nothing to train",
        "dry run of readings",
        "readings",
        "verify",
        "plan",
        "preregister",
    ],
)
def test_a_command_without_computation_does_not_load_torch(arguments, tmp_path):
    workdir = [] if "--help" in arguments else ["--workdir", tmp_path / "work"]
    result = python(WATCHED, *arguments, *workdir)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "torch loaded: False"


def test_rendering_from_finished_runs_does_not_load_torch(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "work")
    arguments = ["--preset", TINY, "--seeds", "1", "--precision", "fp32", "--workdir", tmp_path / "work"]
    result = python(WATCHED, "reproduce-table", "all", *arguments)
    assert result.returncode == 0, result.stderr
    assert "NOT RUN" not in result.stdout
    assert result.stderr.splitlines()[-1] == "torch loaded: False"


# ---------------------------------------------------------------- sizes, docstrings, tests


@pytest.mark.parametrize("module", ORDER)
def test_a_file_can_be_read_in_one_sitting(module):
    assert len(FILES[module].read_text().splitlines()) <= MAX_FILE


@pytest.mark.parametrize("module", ORDER)
def test_a_function_fits_on_a_screen(module):
    too_long = {
        node.name: length
        for node in functions(TREES[module])
        if (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION
    }
    assert too_long == {}


def test_functions_were_found_to_be_measured():
    assert sum(len(functions(tree)) for tree in TREES.values()) > 150


@pytest.mark.parametrize("module", ORDER)
def test_every_public_name_says_what_it_is(module):
    silent = [name for name, node in public_definitions(TREES[module].body) if not ast.get_docstring(node)]
    assert silent == []


@pytest.mark.parametrize("module", ORDER)
def test_every_module_has_a_header(module):
    assert ast.get_docstring(TREES[module])


def test_every_module_has_a_test_file_of_its_name():
    tests = Path(__file__).parent
    tested = {
        ".".join(path.relative_to(tests).with_suffix("").parts).replace("test_", "")
        for path in tests.rglob("test_*.py")
    }
    assert set(FILES) - tested == WITHOUT_TEST_FILE


# ---------------------------------------------------------------- nothing of one machine


def repository_files() -> list[Path]:
    """List what is in the repository."""
    result = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip("not a git checkout")
    return [path for name in result.stdout.splitlines() if (path := REPOSITORY / name).is_file()]


def repository_texts() -> dict[str, str]:
    """Read every text file of the repository."""
    texts = {}
    for path in repository_files():
        if path.suffix not in (".png", ".jpg", ".npz", ".pickle"):
            texts[path.relative_to(REPOSITORY).as_posix()] = path.read_text()
    assert len(texts) > 35
    assert {"swdb/cli/app.py", "tables/table1.toml", "pyproject.toml"} <= set(texts)
    return texts


# A folder at the root of a machine; `x/tmp/y` and `{folder}/tmp/y` are none. (Put together so as not to find itself.)
MACHINE_PATH = re.compile(r"(?<![\w.)}\]$~*-])/(?:" + "|".join(("work", "opt", "root", "tmp", "home", "mnt")) + r")/\w")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /" + "opt/venv", True),
        ('"/' + 'tmp/x"', True),
        ("a/tmp/x", False),
        ("{base}/tmp/x", False),
        ("/" + "work/", False),
    ],
)
def test_the_search_for_machine_paths_finds_them(text, found):
    assert bool(MACHINE_PATH.search(text)) is found


def test_no_file_names_a_path_of_one_machine():
    named = {name: MACHINE_PATH.findall(text) for name, text in repository_texts().items()}
    assert {name: found for name, found in named.items() if found} == {}


def test_no_file_names_a_registry_host():
    hosts = ["pypi" + ".org", "python" + "hosted.org", "index" + "-url", "index" + "_url", "artifactory" + "."]
    named = {name: [host for host in hosts if host in text] for name, text in repository_texts().items()}
    assert {name: found for name, found in named.items() if found} == {}


TEXT_FILES = {"read_text": 0, "write_text": 1, "open": None, "fdopen": None, "TextIOWrapper": 1}


@pytest.mark.parametrize("module", sorted(TREES))
def test_text_is_read_and_written_in_an_encoding_that_is_named(module):
    # else it is the locale's, and what one machine wrote another one reads as something else
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        if name not in TEXT_FILES or owner in ("os", "Image", "archive", "tarfile", "gzip", "zipfile"):
            continue
        modes = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if name in ("open", "fdopen") and any("b" in mode and len(mode) <= 3 for mode in modes):
            continue
        if name == "open" and any(isinstance(one, ast.IfExp) for one in node.args):
            continue  # of modes, all of them binary
        if name == "write_text" and owner == "":
            continue  # our own, which is always UTF-8
        assert "encoding" in {one.arg for one in node.keywords}, f"{module}, line {node.lineno}"
