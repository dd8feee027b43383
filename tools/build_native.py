"""Builds the C++ core into the package while it is installed, where a compiler and libjpeg-turbo are at hand.

A build hook of hatchling, and a command: `python tools/build_native.py [--sanitize] [OUT]`.

Where the core cannot be built the package is installed without it, and works. IMAGEMILL_NATIVE=require makes that an
error, IMAGEMILL_NATIVE=skip does not try. CXX, CXXFLAGS, CPPFLAGS and LDFLAGS are obeyed. No header of Python is
needed: the core has a plain C interface.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "imagemill" / "native" / "core"
INSTALLED_AS = "imagemill/native/_core.so"
FLAGS = [
    *("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-shared", "-pthread"),
    *("-Wall", "-Wextra", "-Wno-psabi"),
    # Fused multiplications round differently: every processor is to give the same bytes.
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
HINT = "imagemill works without it, more slowly; on Debian: apt-get install g++ libjpeg62-turbo-dev, then install again"


def compiler() -> list[str]:
    """The C++ compiler to call: CXX, or the first that is there; empty where there is none."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named:
        return named
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), [])


def _flags(name: str) -> list[str]:
    return shlex.split(os.environ.get(name, ""))


def build(out: Path, *, sanitize: bool = False) -> str:
    """Compiles the core to `out`; says why where that fails, else gives the empty string.

    `out` is replaced in one step, so that a process which has the old one loaded keeps it.
    """
    command = compiler()
    if not command:
        return "there is no C++ compiler"
    sources = sorted(str(path) for path in SOURCES.glob("*.cpp"))
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        made = Path(folder) / out.name
        flags = [*FLAGS, *(SANITIZE if sanitize else []), *_flags("CPPFLAGS"), *_flags("CXXFLAGS")]
        command = [*command, *flags, *sources, *_flags("LDFLAGS"), "-ljpeg", "-o", str(made)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"the compiler cannot be run: {error}"
        if result.returncode != 0:
            errors = [line for line in result.stderr.splitlines() if "error" in line] or result.stderr.splitlines()
            return errors[0] if errors else f"the compiler ended with code {result.returncode}"
        made.replace(out)
    return ""


def platform_tag() -> str:
    """Of a wheel for machines like this one only: the core is linked to this system's libjpeg."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # used as a command
    pass
else:

    class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
        """Compiles the core for a wheel; for an editable install, into the source tree."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Adds the core to the wheel where it can be built."""
            wanted = os.environ.get("IMAGEMILL_NATIVE", "")
            if wanted == "skip":
                return
            editable = version == "editable"
            self._folder = tempfile.TemporaryDirectory()
            out = (SOURCES.parent if editable else Path(self._folder.name)) / "_core.so"
            why_not = build(out)
            if why_not and wanted == "require":
                raise RuntimeError(f"the native core cannot be built: {why_not}")
            if why_not:
                self.app.display_warning(f"the native core is left out: {why_not}. {HINT}")
                return
            if not editable:
                build_data["force_include"][str(out)] = INSTALLED_AS
                build_data["pure_python"] = False
                build_data["tag"] = f"py3-none-{platform_tag()}"

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            """Removes what was compiled for the wheel."""
            if hasattr(self, "_folder"):
                self._folder.cleanup()


def main(arguments: list[str]) -> int:
    """Builds in place, or to the path given."""
    sanitize = "--sanitize" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--sanitize"]
    why_not = build((paths[0] if paths else SOURCES.parent / "_core.so").resolve(), sanitize=sanitize)
    if why_not:
        sys.stderr.write(f"the native core cannot be built: {why_not}\n")
    return 1 if why_not else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
