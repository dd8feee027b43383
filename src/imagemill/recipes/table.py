"""The TOML file of `run`, read and checked: steps in the order of the file, each with options that its verb has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagemill.errors import ConfigError, did_you_mean

TOP_LEVEL = {"name": str, "data": str, "runs": str}
"""Entries beside the steps: name of the recipe, and the folders for data and for what comes of them."""

OUT, NAME, SKIP = "out", "name", "skip"
OF_EVERY_STEP = (OUT, NAME, SKIP)
"""Entries that every step may have: where its result goes, what it is called, whether it is left out."""

_HEADER = re.compile(r"^[ \t]*(\[\[?)[ \t]*([A-Za-z0-9_-]+)[ \t]*\]", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Verb:
    """A verb as a recipe may ask for it.

    Args:
        name: of the verb, and of its table.
        inputs: parameters that name what it takes.
        options: all other names that it knows.
        paths: those of its options that name files or folders.
        sections: options that are tables of their own → the names they know; empty: any.
    """

    name: str
    inputs: tuple[str, ...]
    options: frozenset[str]
    paths: frozenset[str] = frozenset()
    sections: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """One step as the file has it.

    Args:
        verb: of the step.
        name: unique in the recipe: the verb, or what `name` says.
        values: input and options, `out` too.
        where: how messages call it, `train` or `train[2]`.
    """

    verb: Verb
    name: str
    values: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class RecipeFile:
    """A recipe.

    Args:
        name: what it says it is called, or the file.
        data, runs: folders for what its steps make, relative to where it is run.
        tables: the steps, in the order of the file, without those that are to be skipped.
    """

    name: str
    data: str
    runs: str
    tables: tuple[Table, ...]


def read_recipe(
    path: Path, verbs: Collection[str], verb_of: Callable[[str], Verb], settings: Iterable[str] = ()
) -> RecipeFile:
    """A recipe from its file.

    Args:
        verbs: names of those that may be asked for.
        verb_of: what is known of one; called for those that the file has.
        settings: `dotted.key=value` that take the place of what the file says; values are TOML, or else text.

    Raises:
        ConfigError: the file cannot be read; an unknown name, which the message gives with its dotted path and the
            nearest known one; or steps that do not go together.
    """
    text, tables = read_tables(path)
    for setting in settings:
        apply_setting(tables, setting)
    steps: dict[str, list[Table]] = {}
    for key, value in tables.items():
        if key in verbs:
            steps[key] = _steps(verb_of(key), value)
        elif key not in TOP_LEVEL:
            known = (*verbs, *TOP_LEVEL)
            raise ConfigError(
                f"recipe {path}: unknown key {key!r}{did_you_mean(key, known)}; known: {', '.join(known)}"
            )
        elif not isinstance(value, TOP_LEVEL[key]):
            raise ConfigError(f"recipe {path}: {key} is a text, got {value!r}")
    name = str(tables.get("name", path.stem))
    if not _WORD.fullmatch(name):
        raise ConfigError(f"recipe {path}: name {name!r} is to be letters, digits, '.', '_' and '-'")
    found = _in_file_order(text, steps)
    _check_names(path, found)
    if not found:
        raise ConfigError(f"recipe {path} has no step: write tables such as [pack]; known: {', '.join(verbs)}")
    kept = tuple(table for table in found if not table.values.get(SKIP, False))
    return RecipeFile(name, str(tables.get("data", "data")), str(tables.get("runs", "runs")), kept)


def read_tables(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file, and what it says.

    Raises:
        ConfigError: it is not there, or is no TOML.
    """
    try:
        text = path.read_text("utf-8")
        return text, tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"recipe {path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"recipe {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"recipe {path} is no TOML: {error}") from None


def apply_setting(tables: dict[str, Any], setting: str) -> None:
    """Puts `dotted.key=value` into tables, in place: `train.epochs=3`; of several `predict.NAME.flips=all`.

    Raises:
        ConfigError: it is not of that form, or leads through what is no table.
    """
    dotted, equals, text = setting.partition("=")
    parts = [part.strip() for part in dotted.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {setting!r}: write TABLE.KEY=VALUE, as train.epochs=3")
    place: Any = tables
    for part in parts[:-1]:
        if isinstance(place, list):
            place = _one_of_several(place, part, setting)
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            raise ConfigError(f"--set {setting!r}: there is no table {part!r}")
    if not isinstance(place, dict):
        raise ConfigError(f"--set {setting!r}: there are several tables: name one, as in predict.NAME.{parts[-1]}=…")
    place[parts[-1]] = _value(text.strip())


def _one_of_several(tables: list[Any], part: str, setting: str) -> Any:
    """The table of that name or number, from 1."""
    for number, table in enumerate(tables, start=1):
        if isinstance(table, dict) and part in (table.get(NAME), str(number)):
            return table
    raise ConfigError(f"--set {setting!r}: none of the {len(tables)} tables is called {part!r}, or has that number")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _steps(verb: Verb, value: Any) -> list[Table]:
    """The steps of one key: a table, or several."""
    several = isinstance(value, list)
    tables: Sequence[Any] = value if several else [value]
    found = []
    for number, table in enumerate(tables, start=1):
        where = f"{verb.name}[{number}]" if several else verb.name
        if not isinstance(table, dict):
            raise ConfigError(f"{where} is a table: write [{verb.name}], and its options below")
        _check_keys(verb, table, where)
        name = table.get(NAME, verb.name if number == 1 else f"{verb.name}-{number}")
        if not isinstance(name, str) or not _WORD.fullmatch(name):
            raise ConfigError(f"{where}.{NAME} is a word of letters, digits, '.', '_' and '-', got {name!r}")
        found.append(Table(verb, name, table, where))
    return found


def _in_file_order(text: str, steps: Mapping[str, list[Table]]) -> list[Table]:
    """Steps in the order of their headers, which TOML's own tables do not keep where `[[pack]]` comes twice."""
    left = {name: list(tables) for name, tables in steps.items()}
    found: list[Table] = []
    for match in _HEADER.finditer(text):
        name, several = match[2], match[1] == "[["
        if left.get(name) and (several or len(left[name]) == len(steps[name])):
            found.append(left[name].pop(0))
    return [*found, *(table for tables in left.values() for table in tables)]


def _check_keys(verb: Verb, table: Mapping[str, Any], where: str) -> None:
    known = {*OF_EVERY_STEP, *verb.inputs, *verb.options, *verb.sections}
    _refuse_unknown(where, table, known)
    for section, names in verb.sections.items():
        if section in table and not isinstance(table[section], dict | list):
            raise ConfigError(f"{where}.{section} is a table, got {table[section]!r}")
        parts = table.get(section, ())
        for part in parts if isinstance(parts, list) else [parts] if parts else []:
            if names:
                _refuse_unknown(f"{where}.{section}", part, names)
    for name in (*verb.inputs, *verb.paths, OUT):
        if name in table and not isinstance(table[name], str):
            raise ConfigError(f"{where}.{name} is a path, got {table[name]!r}")


def _refuse_unknown(where: str, table: Mapping[str, Any], known: Collection[str]) -> None:
    for key in table:
        if key not in known:
            near = did_you_mean(key, known)
            raise ConfigError(f"unknown key {where}.{key}{near}; known: {', '.join(sorted(known))}")


def _check_names(path: Path, tables: Sequence[Table]) -> None:
    names = [table.name for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"recipe {path}: two steps are called {name!r}: give one another name = …")
