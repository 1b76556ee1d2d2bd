"""The laws of the house: who may import whom, how large things may grow, what is never written."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import metamae
from metamae.benchmark.pocket import POCKET
from metamae.benchmark.published import LAYOUTS
from metamae.data.readers import READERS
from metamae.evaluation.probes import EVALUATIONS
from metamae.masking import MASKINGS
from metamae.methods import METHODS
from metamae.modalities import MODALITIES
from metamae.schema.kinds import modality_settings
from metamae.uses.detect.detectors import DETECTORS

ROOT = Path(metamae.__file__).parent

# What stands on the top level, in order: a row imports only rows above it, wherever the import
# stands. What reads or judges saved numbers needs no network and must not wait for one to load:
# to import "light" rows loads no torch.
HOUSE = {
    "errors": "light",
    "core": "light",
    "model": "torch",
    "data": "light",
    "masking": "torch",
    "modalities": "torch",
    "methods": "torch",
    "schema": "torch",
    "training": "torch",
    "evaluation": "light",
    "pages": "light",
    "run": "torch",
    "encoder": "torch",
    "pretraining": "torch",
    "uses": "torch",
    "benchmark": "torch",
    "estimator": "torch",
    "cli": "light",
    "__main__": "light",
}
ROWS = list(HOUSE)
# Below rows that load torch.
ALSO_LIGHT = (
    *("pretraining/data_checks", "uses/fewshot/episodes"),
    *("uses/detect/threshold", "uses/detect/baselines"),
    *("benchmark/dataset", "benchmark/recipe", "benchmark/pocket", "benchmark/published"),
)
# A use is one folder, or one file, and knows no other, but for these, which are made of uses.
MADE_OF_USES = ("demo", "serve")
SHARED_BY_USES = ("outputs",)
REGISTRIES = (READERS, MASKINGS, MODALITIES, METHODS, EVALUATIONS, DETECTORS, POCKET, LAYOUTS)
# Folder -> its plug-ins.
PLUGINS = {r.package.removeprefix("metamae.").replace(".", "/"): r for r in REGISTRIES}
SHARED = ("base", "form", "gaps")  # what the plug-ins of a folder have in common
MOST_LINES_OF_FILE = 400
MOST_LINES_OF_FUNCTION = 50
MOST_SETTINGS = 10
FILES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all imports, those inside functions and TYPE_CHECKING blocks included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            # `from metamae.run import folder` names a module, `from metamae.x import y` may.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[str, ...]]:
    for name in imported(tree_of(path)):
        first, *rest = name.split(".")
        if first == "metamae":
            yield tuple(rest)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def num_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body; signature and docstring explain and do not count."""
    body = function.body
    documented = ast.get_docstring(function) is not None
    if documented and len(body) == 1:
        return 0
    first = body[1] if documented else body[0]
    assert function.end_lineno is not None
    return function.end_lineno - first.lineno + 1


def is_face(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is a command or its function in Python: one argument per choice of the user."""
    return part_of(path) in ("cli", "uses", "pretraining") and function.name == path.stem


def test_the_top_level_is_the_table():
    assert {part_of(path) for path in FILES} - {"__init__"} == set(HOUSE)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_upwards(path):
    part = part_of(path)
    if part == "__init__":
        return
    for target, *_ in own_imports(path):
        above = ROWS[: ROWS.index(part)]
        assert target == part or target in above, f"{part} imports {target}"


def test_uses_do_not_import_each_other():
    folder = ROOT / "uses"
    for path in folder.rglob("*.py"):
        use = path.relative_to(folder).parts[0].removesuffix(".py")
        for target in own_imports(path):
            if target[0] == "uses" and use not in MADE_OF_USES:
                assert target[1] in (use, *SHARED_BY_USES), f"{name_of(path)} imports {target}"


def test_tests_mirror_the_package():
    tests = Path(__file__).parent
    for path in tests.rglob("test_*.py"):
        folder = path.parent.relative_to(tests)
        assert (ROOT / folder).is_dir() or folder.name == "reference", path


def test_no_import_cycle_within_a_part():
    modules = {}
    for path in FILES:
        dotted = path.relative_to(ROOT).with_suffix("").parts
        modules[dotted[:-1] if dotted[-1] == "__init__" else dotted] = path
    imports = {
        name: {
            target[:end]
            for target in own_imports(path)
            for end in range(1, len(target) + 1)
            if target[:end] in modules and target[:end] != name
        }
        for name, path in modules.items()
        if name
    }
    # A folder's __init__ runs before each of its files anyway; what counts is the way back.
    for name, targets in imports.items():
        targets.discard(name[:-1])
    done: set[tuple[str, ...]] = set()

    def visit(name: tuple[str, ...], above: tuple[tuple[str, ...], ...]) -> None:
        assert name not in above, f"cycle: {above} -> {name}"
        if name not in done:
            for target in imports[name]:
                visit(target, (*above, name))
            done.add(name)

    for name in imports:
        visit(name, ())


def plugin_files(folder: str) -> dict[str, list[Path]]:
    """The files of each plug-in of a folder, which is one file or one package."""
    found: dict[str, list[Path]] = {}
    for path in FILES:
        if path.is_relative_to(ROOT / folder):
            name = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
            found.setdefault(name, []).append(path)
    return {name: paths for name, paths in found.items() if name not in ("__init__", *SHARED)}


@pytest.mark.parametrize("folder", PLUGINS)
def test_every_plugin_is_registered(folder):
    assert set(plugin_files(folder)) == set(PLUGINS[folder].entries)


@pytest.mark.parametrize("folder", PLUGINS)
def test_plugins_do_not_import_their_siblings(folder):
    here = tuple(folder.split("/"))
    for name, paths in plugin_files(folder).items():
        for target in (target for path in paths for target in own_imports(path)):
            if target[: len(here)] == here:
                assert target[len(here)] in (*SHARED, name), f"{name} imports {target}"


@pytest.mark.parametrize(("folder", "name"), [(f, n) for f in PLUGINS for n in PLUGINS[f].entries])
def test_plugins_explain_themselves(folder, name):
    plugin = PLUGINS[folder].get(name)
    package = f"{PLUGINS[folder].package}.{name}"
    assert plugin.__module__ in (package, f"{package}.{name}")
    assert len(importlib.import_module(plugin.__module__).__doc__) > 20
    assert len(plugin.__doc__) > 20
    assert re.fullmatch(r"[^\n]{10,100}", plugin.description), plugin.description
    known = modality_settings(name) if folder == "modalities" else PLUGINS[folder].settings(name)
    assert len(known) <= MOST_SETTINGS
    explained = plugin.infer.__doc__ if folder == "modalities" else plugin.__doc__
    for setting in known:
        assert f"{setting}: " in explained, f"{name}.{setting} is not explained"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_sizes(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES_OF_FILE
    for function in functions(path):
        name = f"{name_of(path)}: {function.name}"
        assert num_lines(function) <= MOST_LINES_OF_FUNCTION, name
        if not is_face(path, function):
            assert len(function.args.kwonlyargs) <= MOST_SETTINGS, name


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_names_and_docstrings(path):
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")
    assert ast.get_docstring(tree_of(path)), "a file says what it is for"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_is_never_written(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    tree = tree_of(path)
    assert not {"pickle", "dill", "joblib", "marshal", "shelve"} & {
        name.split(".")[0] for name in imported(tree)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                assert part_of(path) == "cli", "print outside cli"
            case ast.Call(func=ast.Name(id="exit" | "eval" | "exec" as called)):
                pytest.fail(f"call of {called}")
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save"):
                pytest.fail("torch.load and torch.save unpickle and pickle")
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                pytest.fail("allow_pickle=True")
            case ast.Raise(exc=exc) if exc is not None:
                raised = exc.func if isinstance(exc, ast.Call) else exc
                bare = isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
                assert not bare, "an abstract method needs no NotImplementedError"


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) != "modalities"], ids=name_of)
def test_nobody_else_asks_what_the_data_are(path):
    """A modality owns what depends on it: others name no class of one and compare no name.

    Source: the rule stands in docs/design.md, section 3.
    """
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.ImportFrom(module=str(module)) if module.startswith("metamae.modalities."):
                shared = module.split(".")[2] in SHARED
                assert shared, f"{module} is imported, which is one modality"
            case ast.Compare(left=left, comparators=others):
                for one in (left, *others):
                    for part in ast.walk(one):
                        named = isinstance(part, ast.Constant) and part.value in MODALITIES.own
                        assert not named, f"line {node.lineno} compares with {part.value!r}"
            case ast.Call(func=ast.Name(id="hasattr" | "getattr"), args=[asked, *_]):
                shown = ast.unparse(asked)
                assert not re.search(r"\b(spec|modality|tokenizer|part|own)$", shown), shown


def loaded_by(code: str) -> set[str]:
    """Names of the top-level packages that a fresh interpreter has after running some code."""
    shown = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_the_package_and_its_command_line_costs_nothing():
    loaded = loaded_by("import metamae, metamae.cli")
    assert not loaded & {"torch", "sklearn", "pandas", "pyarrow", "matplotlib", "scipy"}


def test_what_judges_numbers_needs_no_torch():
    names = [
        "metamae." + name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in FILES
        if HOUSE.get(part_of(path)) == "light" or name_of(path).startswith(ALSO_LIGHT)
    ]
    assert len(names) > 20
    loaded = loaded_by(f"import {', '.join(names)}")
    assert not loaded & {"torch", "matplotlib", "pandas"}


def test_public_names_can_be_imported():
    assert sorted(dir(metamae)) == metamae.__all__
    for name in metamae.__all__:
        assert getattr(metamae, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'metamae' has no attribute 'nothing'"):
        metamae.nothing  # noqa: B018
