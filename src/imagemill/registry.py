"""One registry per concept: a name, and where the thing it names is found.

Built-in entries are strings `module:attribute`, imported when first asked for, so
that listing formats does not import h5py. Outside packages add entries through
their own entry points.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter
from typing import Any, Generic, TypeVar

from imagemill.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Names → things of one kind, some of them not imported yet.

    Args:
        concept: what the entries are, for messages: "format".
        group: entry point group that outside packages register under: "imagemill.formats".
        builtin: name → "module:attribute".
    """

    def __init__(self, concept: str, group: str, builtin: dict[str, str]) -> None:
        self.concept = concept
        self._group = group
        self._targets: dict[str, Any] = dict(builtin)
        self._builtin = frozenset(builtin)
        self._outside: dict[str, tuple[str, str]] = {}
        self._outside_loaded = False

    def register(self, name: str, thing: T) -> None:
        """Adds an entry for this process; an outside package uses an entry point instead."""
        self._targets[name] = thing

    def get(self, name: str) -> T:
        """The entry of that name.

        Raises:
            ConfigError: no such entry; the message lists the names and the nearest one.
        """
        if name not in self._targets:
            self._load_outside()
        if name not in self._targets:
            known = ", ".join(self)
            raise ConfigError(f"unknown {self.concept} {name!r}; known: {known}{did_you_mean(name, self._targets)}")
        target = self._targets[name]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = attrgetter(attribute)(import_module(module))
            self._targets[name] = target
        return target  # type: ignore[no-any-return]

    def distribution(self, name: str) -> tuple[str, str] | None:
        """Name and version of the outside package that an entry comes from; None of a built-in or registered one."""
        if name not in self._builtin:
            self._load_outside()
        return self._outside.get(name)

    def __iter__(self) -> Iterator[str]:
        self._load_outside()
        return iter(sorted(self._targets))

    def __contains__(self, name: object) -> bool:
        self._load_outside()
        return name in self._targets

    def _load_outside(self) -> None:
        if self._outside_loaded:
            return
        self._outside_loaded = True
        # Worth 40 ms, which no worker process need pay for a built-in entry.
        from importlib import metadata

        for entry_point in metadata.entry_points(group=self._group):
            if entry_point.name in self._targets:
                continue
            self._targets[entry_point.name] = f"{entry_point.module}:{entry_point.attr}"
            if entry_point.dist is not None:
                self._outside[entry_point.name] = (entry_point.dist.name, entry_point.dist.version)
