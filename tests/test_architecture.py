"""The rules that keep the house in order, read from the source itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "posbench"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"errors"},
    {"types", "sources"},
    {"reranking"},
    {"listwise"},
    {"measures", "pmrr", "rewards", "stats", "paired", "correlation", "topk", "store", "recipe", "hub", "versions"},
    {"bias", "evaluate", "hnsw"},
    {"loaders", "rankers", "compose", "dsir"},
    {"controls", "gains", "indexed", "manifest", "stored"},
    {"staged"},
    {"reranked", "compare"},
    {"experiment", "exports", "biases"},
    {"studies"},
    {"plots", "leaderboard"},
    {"site"},
    {"cli"},
]
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "pandas",
    "scipy",
    "faiss",
    "hnswlib",
    "h5py",
    "bm25s",
    "ir_measures",
}


def part(path):
    """The room of the house that a file belongs to: its module, or its folder under posbench."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path, top_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "posbench" else [node.module]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    level = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    mine = part(path)
    if mine.startswith("__"):
        return
    for name in imports(path):
        if not name.startswith("posbench.") or name == "posbench.__version__":
            continue
        other = name.split(".")[1]
        if other != mine:
            assert level[other] < level[mine], f"{path.name} ({mine}) imports {name}"


def test_every_module_has_a_place_in_the_layers():
    known = set().union(*LAYERS) | {"__init__", "__main__"}
    assert {part(path) for path in MODULES} <= known


@pytest.mark.parametrize("folder", ["datasets", "rankers", "leaderboard"])
def test_recipe_folders_hold_no_code(folder):
    assert not list((ROOT / folder).rglob("*.py"))


def test_torch_is_imported_in_its_rooms_only():
    for path in MODULES:
        if any(name.split(".")[0] in {"torch", "transformers", "sentence_transformers"} for name in imports(path)):
            assert part(path) in {"rankers", "topk"} or path == PACKAGE / "studies" / "gradients.py", path


def test_heavy_packages_are_never_imported_at_the_top():
    for path in MODULES:
        found = {name.split(".")[0] for name in imports(path, top_only=True)} & HEAVY
        assert not found, f"{path.relative_to(PACKAGE)} imports {found} at its top"


def test_importing_posbench_is_light():
    code = "import sys, posbench, posbench.cli; print(sorted({'torch', 'pandas', 'numpy', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_functions_and_files_stay_small():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path.name}: {node.name}"


def test_no_suppressions():
    words = ["no" + "qa", "type: " + "ignore", "TO" + "DO", "pragma: no " + "cover"]
    for path in [*MODULES, *(ROOT / "tests").glob("*.py"), *(ROOT / "tools").glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], path
