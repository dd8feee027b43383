"""What a benchmark says about the machine it ran on, and how it measures itself."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True)
class Clock:
    """CPU and wall seconds at one moment; CPU is user and system time of this process and its ended children."""

    cpu_s: float
    wall_s: float

    @staticmethod
    def now() -> Clock:
        return Clock(time.process_time() + _children_cpu_s(), time.perf_counter())

    def since(self, start: Clock) -> Clock:
        return Clock(self.cpu_s - start.cpu_s, self.wall_s - start.wall_s)


def _children_cpu_s() -> float:
    try:
        import resource
    except ImportError:
        times = os.times()
        return times.children_user + times.children_system
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def memory_kib(name: str) -> int:
    """A line of /proc/self/status in KiB: "VmHWM" (peak), "VmRSS", "RssAnon", "RssFile"; 0 elsewhere than on Linux."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def reset_peak() -> None:
    """Makes `VmHWM` count from here on, where Linux allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """Peak resident memory of this process since `reset_peak`, mapped files included."""
    if peak := memory_kib("VmHWM"):
        return peak / 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def children_peak_mib() -> float:
    """Peak resident memory of the largest child that has ended; 0 where there was none or it is not known."""
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20


def describe(packages: Sequence[str]) -> list[str]:
    """Lines that name this machine: processor, memory, system, versions of these packages, date, load."""
    versions = [f"{name} {version}" for name in packages if (version := _version(name))]
    load = f"; load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return [
        f"{time.strftime('%Y-%m-%d')}, {_processor()}, {os.cpu_count()} cores{_memory()}, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}{load}",
        ", ".join(versions),
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.partition(":")[::2] for line in reversed(lines) if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    named = facts.get("model name", platform.machine())
    family = f" (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else ""
    sha = "with" if "sha_ni" in facts.get("flags", "").split() else "without"
    return f"{named}{family}, {sha} SHA instructions"


def _memory() -> str:
    try:
        size_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return ""
    return f", {size_bytes / 2**30:.0f} GiB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    padded = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    return "\n".join([padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]])


def record(title: str, text: str) -> None:
    """Puts a section into RESULTS.md, above the earlier ones."""
    old = RESULTS.read_text("utf-8") if RESULTS.exists() else "# Results\n\nWritten by `--record`; newest first.\n"
    head, mark, earlier = old.partition("\n## ")
    RESULTS.write_text(f"{head.rstrip()}\n\n## {title}\n\n{text.strip()}\n{mark}{earlier}", "utf-8")
