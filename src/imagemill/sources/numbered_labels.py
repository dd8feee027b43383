"""Labels that are integers in the source already, with or without names."""

from __future__ import annotations

from collections.abc import Mapping

from imagemill.core.schema import Field


class NumberedLabels:
    """Integer labels of a source, its names for them, and what the user's `class_to_idx` makes of both.

    Without `class_to_idx` every label stays what it is. With it, and with names in the source, a label
    becomes the integer that its name is given. With it, and without names in the source, labels stay, and
    `class_to_idx` names them.

    Args:
        names: integer → class name as the source says; None where it says nothing.
        class_to_idx: class name → integer as the user says.
    """

    def __init__(self, names: Mapping[int, str] | None, class_to_idx: Mapping[str, int] | None) -> None:
        self._moves: dict[int, int | None] | None = None
        self._names = dict(names or {})
        if class_to_idx is not None:
            if names:
                self._moves = {number: class_to_idx.get(name) for number, name in names.items()}
            self._names = {number: name for name, number in class_to_idx.items()}
        self._seen = (0, -1)

    def label(self, number: int) -> int | None:
        """The label to use; None where `class_to_idx` leaves its class out."""
        if self._moves is not None:
            moved = self._moves.get(number)
            if moved is None:
                return None
            number = moved
        self._seen = (min(self._seen[0], number), max(self._seen[1], number))
        return number

    def _problem(self) -> str:
        count = len(self._names)
        if not count:
            return ""
        if sorted(self._names) != list(range(count)):
            return f"the numbers of the {count} class names are not 0 to {count - 1}"
        if self._seen[1] >= count or self._seen[0] < -1:
            return f"labels go from {self._seen[0]} to {self._seen[1]}, names from 0 to {count - 1}"
        return ""

    def field(self) -> Field:
        """The label field; with class names where they fit every label met so far (-1 is: none)."""
        names = None
        if self._names and not self._problem():
            names = tuple(self._names[number] for number in range(len(self._names)))
        return Field("label", "label", dtype="int64", shape=(), codec="raw", class_names=names)

    def remark(self) -> str:
        """Why class names were left out, if they were."""
        problem = self._problem()
        return f"class names left out, labels stay numbers: {problem}" if problem else ""
