"""Imports point down the chain that docs/architecture.md draws, and starting up stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import imagemill

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PACKAGE = "imagemill"
TORCH_ALLOWED = (
    "networks/",
    "sources/torch.py",
    "transforms/embed.py",
    "load/",
    "datasets/",
    "training/",
    "prediction/",
    "diagnosis.py",
)
OUTSIDE = {"", "__main__", "testing"}
"""The package itself and the shipped conformance suites use any part; no part imports them."""


class Import(NamedTuple):
    """One import: what it names (several spellings of one target), and when it happens."""

    line: int
    names: tuple[str, ...]
    lazy: bool


def imports_of(path: Path, module: str) -> list[Import]:
    """Every import of a file except those under `if TYPE_CHECKING`, with relative names resolved."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return list(_walk(ast.parse(path.read_text("utf-8")), package, lazy=False))


def _walk(node: ast.AST, package: str, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _walk(other, package, lazy)
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(child.lineno, (alias.name,), lazy)
        elif isinstance(child, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
            base = ".".join([*parents, *([child.module] if child.module else [])])
            for alias in child.names:
                yield Import(child.lineno, (f"{base}.{alias.name}", base), lazy)
        elif isinstance(child, ast.Constant) and re.fullmatch(PACKAGE + r"(\.\w+)+(:\w+)?", str(child.value)):
            # A registry entry, or a name for import_module: imported when first asked for.
            yield Import(child.lineno, (str(child.value).partition(":")[0],), True)
        else:
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, package, lazy or is_function)


def modules_of(source: Path) -> dict[str, Path]:
    """Module name → file, for all of the package."""
    found = {}
    for path in sorted((source / PACKAGE).rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def part_of(module: str) -> str:
    """`formats` of `imagemill.formats.arrow`; the empty string of the package itself."""
    return module.split(".")[1] if "." in module else ""


def layers_of_the_docs() -> dict[str, int]:
    """Part → its height, 0 at the top, as docs/architecture.md draws it."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    chains = re.findall(r"`(\w+ → [^`]+)`", text)
    assert len(chains) == 1, "docs/architecture.md draws the chain of imports once"
    layers = [[part.strip() for part in layer.split("|")] for layer in chains[0].split("→")]
    return {part: height for height, layer in enumerate(layers) for part in layer}


def target_of(names: tuple[str, ...], modules: dict[str, Path]) -> str | None:
    """The module of the package that an import means, if it is one of the package."""
    return next((name for name in names if name in modules), None)


def upward_imports(source: Path, layers: dict[str, int]) -> list[str]:
    """Every import that does not point down, in words."""
    modules = modules_of(source)
    wrong = []
    for module, path in modules.items():
        part = part_of(module)
        for found in imports_of(path, module):
            target = target_of(found.names, modules)
            if target is None or part_of(target) == part or part in OUTSIDE:
                continue
            if target == PACKAGE and found.names[0] == f"{PACKAGE}.__version__":
                continue
            if layers.get(part_of(target), -1) <= layers[part]:
                wrong.append(f"{path.relative_to(source)}:{found.line} imports {target}")
    return wrong


def import_cycle(source: Path) -> list[str]:
    """A cycle of imports that happen while modules load; empty where there is none."""
    modules = modules_of(source)
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        eager = {target_of(found.names, modules) for found in imports_of(path, module) if not found.lazy}
        graph[module] = {target for target in eager if target is not None and target != module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def users_of(library: str, source: Path) -> list[str]:
    """Files that import a library, relative to the package."""
    return [
        path.relative_to(source / PACKAGE).as_posix()
        for module, path in modules_of(source).items()
        if any(name.split(".")[0] == library for found in imports_of(path, module) for name in found.names)
    ]


def test_every_part_stands_in_the_chain() -> None:
    parts = {part_of(module) for module in modules_of(SOURCE)} - OUTSIDE
    assert parts <= set(layers_of_the_docs())


def test_imports_point_down() -> None:
    assert upward_imports(SOURCE, layers_of_the_docs()) == []


def test_no_module_waits_for_itself() -> None:
    assert import_cycle(SOURCE) == []


def test_torch_stays_in_its_parts() -> None:
    assert [path for path in users_of("torch", SOURCE) if not path.startswith(TORCH_ALLOWED)] == []


def test_ray_stays_in_its_engine() -> None:
    assert set(users_of("ray", SOURCE)) <= {"engines/ray.py"}


@pytest.mark.parametrize("statement", ["import imagemill", "import imagemill.cli", "import imagemill.api.pack"])
def test_start_up_loads_no_heavy_library(statement: str) -> None:
    probe = f"import sys; {statement}; print([n for n in ('torch', 'h5py', 'cv2', 'ray') if n in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_no_module_takes_the_place_of_a_public_name() -> None:
    modules = {path.stem for path in (SOURCE / PACKAGE).iterdir()}
    assert modules.isdisjoint(imagemill.__all__)


LAYERS = {"cli": 0, "api": 1, "load": 2, "prepare": 2, "formats": 3, "errors": 4}


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A small package tree to try the rules on."""
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "import imagemill.api",
        "from imagemill import api",
        "from imagemill.load import order",
        "from ..load import order",
        "def later():\n    from imagemill.api import pack",
        "class Reader:\n    def read(self):\n        import imagemill.load.order as order",
        "if True:\n    from imagemill.api import pack",
        "ENTRY = 'imagemill.load.order:ORDER'",
        "import imagemill",
    ],
)
def test_an_import_that_does_not_point_down_is_found(tmp_path: Path, text: str) -> None:
    files = {
        "api.py": "",
        "load/__init__.py": "",
        "load/order.py": "",
        "prepare/__init__.py": "",
        "prepare/run.py": text,
    }
    assert len(upward_imports(tree(tmp_path, files), LAYERS)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "from imagemill.errors import ConfigError",
        "from imagemill import __version__",
        "from imagemill.prepare import plan",
        "import numpy",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from imagemill.api import pack",
    ],
)
def test_an_import_that_points_down_is_not(tmp_path: Path, text: str) -> None:
    files = {"api.py": "", "errors.py": "", "prepare/__init__.py": "", "prepare/plan.py": "", "prepare/run.py": text}
    assert upward_imports(tree(tmp_path, files), LAYERS) == []


def test_a_cycle_is_found_and_a_lazy_one_is_none(tmp_path: Path) -> None:
    eager = {"errors.py": "from imagemill import registry", "registry.py": "import imagemill.errors"}
    assert set(import_cycle(tree(tmp_path / "eager", eager))) == {"imagemill.errors", "imagemill.registry"}
    lazy = {**eager, "registry.py": "def get():\n    import imagemill.errors"}
    assert import_cycle(tree(tmp_path / "lazy", lazy)) == []


def test_a_use_of_torch_is_found(tmp_path: Path) -> None:
    files = {"codecs/__init__.py": "", "codecs/image.py": "def decode():\n    from torch.nn import functional"}
    assert users_of("torch", tree(tmp_path, files)) == ["codecs/image.py"]
