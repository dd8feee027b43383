"""What lies in examples/ runs: the demo, the cluster scripts, the format of an outside package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
CLUSTER = EXAMPLES / "cluster"

if sys.platform == "win32":
    pytest.skip("the examples are shell scripts", allow_module_level=True)


def run(
    command: Sequence[str | Path], folder: Path, *, fails: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command; its output is the message where it does not end as it should."""
    finished = subprocess.run(
        [str(word) for word in command], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert (finished.returncode != 0) == fails, finished.stdout + finished.stderr
    return finished


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class folders with a few small images."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(12):
        path = folder / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(path)
    return folder


class Stubs:
    """Commands that only say how they were called, in a folder at the front of PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls.log"
        folder.mkdir()
        path = f"{folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"PATH": path, "LOG": str(self.log)}

    def add(self, name: str, body: str = "") -> None:
        """A command that logs its arguments and then runs `body`."""
        script = self.folder / name
        script.write_text(f'#!/usr/bin/env bash\nset -eu\necho "{name} $*" >>"{self.log}"\n{body}\n')
        script.chmod(0o755)

    def calls(self, name: str) -> list[str]:
        """What the command was called with, call by call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


PYTHON_STUB = """
"$REAL" -m venv --without-pip "${@: -1}"
site=$("${@: -1}/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat >"$site/pip.py" <<'END'
import os, sys
with open(os.environ["LOG"], "a") as log:
    log.write(f"pip {' '.join(sys.argv[1:])}\\n")
END
"""


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    """Stubs with a `python3` that makes environments whose pip only says how it was called."""
    made = Stubs(tmp_path / "stubs")
    made.add("python3", f'export REAL="{sys.executable}"{PYTHON_STUB}')
    return made


# Setting up


def test_setup_local_makes_an_environment(tmp_path: Path, stubs: Stubs) -> None:
    environment = tmp_path / "env"
    shown = run([CLUSTER / "setup_local.sh", environment], tmp_path, **stubs.environment)
    assert stubs.calls("python3") == [f"-m venv {environment}"]
    assert stubs.calls("pip") == [f"install {ROOT}[torch]"]
    assert f"source {environment}/bin/activate" in shown.stdout


def test_setup_local_installs_what_it_is_told_to(tmp_path: Path, stubs: Stubs) -> None:
    run([CLUSTER / "setup_local.sh", "env"], tmp_path, **stubs.environment, IMAGEMILL_PACKAGE="imagemill[ray]==0.1.0")
    assert stubs.calls("pip") == ["install imagemill[ray]==0.1.0"]


@pytest.mark.parametrize("script", ["setup_local.sh", "setup_cluster.sh"])
def test_setup_leaves_a_folder_of_others_alone(tmp_path: Path, stubs: Stubs, script: str) -> None:
    stubs.add("ml")
    (tmp_path / "work").mkdir()
    shown = run([CLUSTER / script, tmp_path / "work"], tmp_path, fails=True, **stubs.environment)
    assert "no virtual environment" in shown.stderr
    assert stubs.calls("python3") == stubs.calls("pip") == []


def test_setup_cluster_loads_the_modules_and_so_do_the_jobs(tmp_path: Path, stubs: Stubs) -> None:
    stubs.add("ml")
    environment = tmp_path / "env"
    run([CLUSTER / "setup_cluster.sh", environment], tmp_path, **stubs.environment)
    purge, load = stubs.calls("ml")
    assert purge == "purge"
    assert "Python/3" in load
    assert stubs.calls("pip") == [f"install {ROOT}[torch]"]
    stubs.log.unlink()
    activate = f"set -eu; source {environment}/activate_cluster.sh; command -v python"
    shown = run(["bash", "-c", activate], tmp_path, **stubs.environment)
    assert stubs.calls("ml") == ["purge", load]
    assert shown.stdout.strip() == f"{environment}/bin/python"


def test_module_names_stand_in_one_place() -> None:
    text = (CLUSTER / "setup_cluster.sh").read_text()
    assert text.count("MODULES=(") == 1
    modules = text.split("MODULES=(")[1].split(")")[0].split()
    everything = "".join(path.read_text() for path in CLUSTER.iterdir())
    assert [everything.count(module) for module in modules] == [1] * len(modules)


def test_setup_cluster_says_so_where_there_are_no_modules(tmp_path: Path, stubs: Stubs) -> None:
    shown = run([CLUSTER / "setup_cluster.sh", tmp_path / "env"], tmp_path, fails=True, **stubs.environment)
    assert "no 'ml' here" in shown.stderr
    assert not (tmp_path / "env").exists()


# Packing


def files_of(dataset: Path) -> dict[str, bytes]:
    """Every file of a dataset that must not depend on how it was made."""
    return {
        path.relative_to(dataset).as_posix(): path.read_bytes()
        for path in sorted(dataset.rglob("*"))
        if path.is_file() and path.name != "run.jsonl"
    }


@pytest.fixture(scope="module")
def serial(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset as one process makes it."""
    out = tmp_path_factory.mktemp("serial") / "out"
    run([sys.executable, "-m", "imagemill", "pack", pictures, out, "--shard-size", "2", "--workers", "0"], ROOT)
    return files_of(out)


def test_pack_slurm(tmp_path: Path, stubs: Stubs, pictures: Path, serial: dict[str, bytes]) -> None:
    stubs.add(
        "srun",
        "while [[ $1 == -* ]]; do shift; done\n"
        'for rank in 0 1 2; do SLURM_PROCID=$rank SLURM_STEP_ID=0 "$@" & jobs+=($!); done\n'
        'for job in "${jobs[@]}"; do wait "$job"; done',
    )
    stubs.add("imagemill", f'exec "{sys.executable}" -m imagemill "$@"')
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "activate_cluster.sh").write_text("echo activated\n")
    shown = run(
        ["bash", CLUSTER / "pack.slurm", pictures, tmp_path / "out", "--shard-size", "2"],
        tmp_path,
        # The script starts a login shell on a cluster; here its profile would put PATH in another order.
        **stubs.environment,
        IMAGEMILL_ENV=str(tmp_path / "env"),
        SLURM_JOB_ID="7",
        SLURM_NTASKS="3",
        SLURM_CPUS_PER_TASK="1",
    )
    assert shown.stdout.startswith("activated")
    (arguments,) = stubs.calls("srun")
    assert "--kill-on-bad-exit=0 --cpus-per-task=1 imagemill pack" in arguments
    assert files_of(tmp_path / "out") == serial
    assert "clean: 12 samples" in shown.stdout


def test_pack_torchrun(tmp_path: Path, stubs: Stubs, pictures: Path, serial: dict[str, bytes]) -> None:
    stubs.add(
        "torchrun",
        "while [[ $1 != imagemill ]]; do [[ $1 == --nproc-per-node ]] && ranks=$2; shift; done\n"
        "for ((rank = 0; rank < ranks; rank++)); do\n"
        '    RANK=$rank WORLD_SIZE=$ranks TORCHELASTIC_RUN_ID=a "$@" & jobs+=($!)\n'
        "done\n"
        'for job in "${jobs[@]}"; do wait "$job"; done',
    )
    stubs.add("imagemill", f'exec "{sys.executable}" -m imagemill "$@"')
    command = [CLUSTER / "pack_torchrun.sh", "2", pictures, tmp_path / "out", "--shard-size", "2"]
    shown = run(command, tmp_path, **stubs.environment)
    (arguments,) = stubs.calls("torchrun")
    assert arguments.startswith("--standalone --nproc-per-node 2 --no-python imagemill pack")
    assert files_of(tmp_path / "out") == serial
    assert "clean: 12 samples" in shown.stdout


def test_pack_torchrun_on_several_machines(tmp_path: Path, stubs: Stubs) -> None:
    for name in ("torchrun", "imagemill"):
        stubs.add(name)
    arguments = ["4", "src dir", "out", "--format", "tar"]
    run([CLUSTER / "pack_torchrun.sh", *arguments], tmp_path, **stubs.environment, TORCHRUN_ARGS="--nnodes 2")
    wanted = "--nnodes 2 --nproc-per-node 4 --no-python imagemill pack src dir out --format tar --workers 1"
    assert stubs.calls("torchrun") == [wanted]
    assert stubs.calls("imagemill") == ["verify out"]


def test_pack_torchrun_says_how_it_is_used(tmp_path: Path) -> None:
    assert "usage: " in run([CLUSTER / "pack_torchrun.sh", "2"], tmp_path, fails=True).stderr


# A format of an outside package


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The example package, copied and installed: its folder, and where it was installed."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLES / "format_plugin", folder / "package")
    install = "install --quiet --no-deps --no-build-isolation --no-index --target"
    command = [sys.executable, "-m", "pip", *install.split(), folder / "installed", folder / "package"]
    run(command, folder, PIP_DISABLE_PIP_VERSION_CHECK="1")
    return folder / "package", folder / "installed"


def test_an_outside_format_passes_the_conformance_suite(plugin: tuple[Path, Path]) -> None:
    package, installed = plugin
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    shown = run(command, package, PYTHONPATH=str(installed))
    assert int(shown.stdout.split(" passed")[0].split()[-1]) > 100, shown.stdout


def test_an_outside_format_is_found_by_its_entry_point(plugin: tuple[Path, Path]) -> None:
    probe = (
        "import json; from imagemill.formats import FORMATS; print(json.dumps([*FORMATS, FORMATS.get('lines').name]))"
    )
    with_it = run([sys.executable, "-c", probe], plugin[0], PYTHONPATH=str(plugin[1]))
    assert json.loads(with_it.stdout)[-1] == "lines"
    assert {"arrow", "lines", "tar"} <= set(json.loads(with_it.stdout))
    without = run([sys.executable, "-c", probe], plugin[0], fails=True, PYTHONPATH="")
    assert "unknown format 'lines'" in without.stderr


def test_an_outside_format_is_packed_verified_and_exported(
    plugin: tuple[Path, Path], pictures: Path, tmp_path: Path
) -> None:
    imagemill = [sys.executable, "-m", "imagemill"]
    for command in (
        ["pack", pictures, "dataset", "--format", "lines", "--workers", "1"],
        ["verify", "dataset"],
        ["export", "dataset", "back"],
    ):
        run([*imagemill, *command], tmp_path, PYTHONPATH=str(plugin[1]))
    assert json.loads((tmp_path / "dataset" / "manifest.json").read_text())["versions"]["imagemill-lines"] == "1.0.0"
    exported = sorted(path.read_bytes() for path in (tmp_path / "back").rglob("*.png"))
    assert exported == sorted(path.read_bytes() for path in pictures.rglob("*.png"))


# The demo


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    shown = run([sys.executable, EXAMPLES / "demo.py", tmp_path / "out"], tmp_path).stdout
    losses = [float(line.split("loss ")[1].split()[0]) for line in shown.splitlines() if line.startswith("epoch ")]
    assert losses[-1] < 0.8 * losses[0]
    manifest = json.loads((tmp_path / "out" / "photographs" / "manifest.json").read_text())
    assert manifest["counts"]["samples"] == 240
    assert manifest["counts"]["reasons"] == {"empty-file": 1, "not-an-image": 1, "truncated": 1}
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000
    assert f"Report:   {tmp_path / 'out' / 'report.html'}" in shown


def test_demo_leaves_a_folder_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    shown = run([sys.executable, EXAMPLES / "demo.py", tmp_path], tmp_path, fails=True)
    assert "is not empty" in shown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
