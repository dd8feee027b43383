"""Arguments and options of a subcommand, declared in the signature of its function, for click to read.

def command(source: Annotated[str, Argument("SRC")], limit: Annotated[int | None, Option("--limit")] = None): ...

Options that several commands share are the fields of a dataclass, which a command takes as one parameter.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import click


@dataclass(frozen=True)
class Argument:
    """What stands at its place on the command line; of type list it takes all that is left.

    Args:
        metavar: how it is called in the help.
        help: what it is.
    """

    metavar: str
    help: str


@dataclass(frozen=True)
class Option:
    """What is given by name, in any order. Of type bool it takes no value, of type list it may be repeated.

    Args:
        names: as typed, `--limit`; of a bool that may be denied `--cache/--no-cache`.
        help: what it does.
        metavar: how its value is called in the help, where its type says too little.
        min, max: smallest and largest number.
    """

    names: str
    help: str = ""
    metavar: str | None = None
    min: float | None = None
    max: float | None = None


def command_of(name: str, function: Callable[..., None]) -> click.Command:
    """The subcommand that calls a function with what is typed.

    Args:
        name: of the subcommand.
        function: each of its parameters is `Annotated` with an `Argument` or `Option`, or a dataclass whose fields are;
            its docstring is the help.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters: list[click.Parameter] = []
    groups: dict[str, Any] = {}
    for each in inspect.signature(function).parameters.values():
        kind = hints[each.name]
        if is_dataclass(kind):
            groups[each.name] = kind
            parameters += _parameters_of(kind)
        else:
            parameters.append(_parameter(each.name, *get_args(kind), default=each.default))

    def call(**values: Any) -> None:
        for group_name, group in groups.items():
            values[group_name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    return click.Command(name, callback=call, params=parameters, help=inspect.getdoc(function))


def _parameters_of(group: Any) -> list[click.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_parameter(field.name, *get_args(hints[field.name]), default=field.default) for field in fields(group)]


def _parameter(name: str, annotation: Any, declared: Argument | Option, *, default: Any) -> click.Parameter:
    """One parameter.

    Args:
        annotation: str, int, float, bool, Path or a list of one of them, or either or None.
        default: of what may be left away; an argument that has none must be given.
    """
    kind, many = _kind(annotation)
    settings: dict[str, Any] = {"type": _type(kind, declared), "help": declared.help, "metavar": declared.metavar}
    if many:
        settings["callback"] = lambda context, parameter, values: list(values) or None
    if isinstance(declared, Argument):
        required = default is inspect.Parameter.empty
        return click.Argument([name], nargs=-1 if many else 1, required=required, **settings)
    if not many:
        settings |= {"default": default, "show_default": default is not None, "is_flag": kind is bool}
    return click.Option([name, declared.names], multiple=many, **settings)


def _kind(annotation: Any) -> tuple[type, bool]:
    """The type of a value, and whether there may be several."""
    kinds = get_args(annotation)
    kind = next(each for each in kinds if each is not NoneType) if NoneType in kinds else annotation
    return (get_args(kind)[0], True) if get_origin(kind) is list else (kind, False)


def _type(kind: type, declared: Argument | Option) -> Any:
    if kind is Path:
        return click.Path(path_type=Path)
    if isinstance(declared, Option) and (declared.min is not None or declared.max is not None):
        limited: Any = click.IntRange if kind is int else click.FloatRange
        return limited(declared.min, declared.max)
    return kind
