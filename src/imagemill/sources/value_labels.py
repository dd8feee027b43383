"""Labels that are values in the source (a column, a member, a file of labels), not folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from imagemill.core.schema import Field
from imagemill.sources.layout import NO_LABEL, Labels


class NumberedLabels:
    """Integer labels of a source, its names for them, and what the user's `class_to_idx` makes of both.

    Without `class_to_idx` every label stays what it is. With it, and with names in the source, a label
    becomes the integer that its name is given. With it, and without names in the source, labels stay, and
    `class_to_idx` names them.

    Args:
        names: integer → class name as the source says; None where it says nothing.
        class_to_idx: class name → integer as the user says.
        complete: whether a label without a name, where there are names, is none.
    """

    def __init__(
        self, names: Mapping[int, str] | None, class_to_idx: Mapping[str, int] | None, *, complete: bool = False
    ) -> None:
        self._known = frozenset(names) if names and complete else None
        self._moves: dict[int, int] | None = None
        self._names = dict(names or {})
        if class_to_idx is not None:
            if names:
                self._moves = {number: class_to_idx[name] for number, name in names.items() if name in class_to_idx}
            self._names = {number: name for name, number in class_to_idx.items()}
        self._seen = (0, NO_LABEL)

    def knows(self, label: object) -> bool:
        """Whether this is an integer (or a float without a fraction) that `class_to_idx` does not leave out."""
        if not isinstance(label, int) and not (isinstance(label, float) and label.is_integer()):
            return False
        known = self._known if self._moves is None else self._moves
        return known is None or label == NO_LABEL or int(label) in known

    def label(self, number: int) -> int:
        """The label to use, for one that is known."""
        if self._moves is not None and number != NO_LABEL:
            number = self._moves[number]
        self._seen = (min(self._seen[0], number), max(self._seen[1], number))
        return number

    def _problem(self) -> str:
        count = len(self._names)
        if not count:
            return ""
        if sorted(self._names) != list(range(count)):
            return f"the numbers of the {count} class names are not 0 to {count - 1}"
        if self._seen[1] >= count or self._seen[0] < NO_LABEL:
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


class ValueLabels:
    """Labels of a source whose labels are values, not folders: names of classes, or integers.

    Args:
        are_text: whether they are names.
        names: integer → name that the source gives, for integers.
        class_to_idx: class name → integer as the user says.
    """

    problem = "neither an integer nor a class of class_to_idx"

    def __init__(self, are_text: bool, names: Mapping[int, str] | None, class_to_idx: Mapping[str, int] | None) -> None:
        self.are_text = are_text
        self._names = Labels(class_to_idx) if are_text else None
        self._numbers = NumberedLabels(names, class_to_idx)
        self._unlabelled = 0

    @property
    def type(self) -> pa.DataType:
        """Type of the listing's label column."""
        return self._names.type if self._names else pa.int64()

    def knows(self, label: Any) -> bool:
        """Whether the label can be used; null can."""
        if label is None:
            return True
        return self._names.knows(label) if self._names else self._numbers.knows(label)

    def read(self, text: str) -> str | int:
        """A label from its text."""
        return text if self.are_text else int(text)

    def label(self, label: Any) -> str | int | None:
        """What the listing says."""
        self._unlabelled += label in (None, NO_LABEL)
        if label is None:
            return None
        return self._names.label(label) if self._names else self._numbers.label(int(label))

    def field(self) -> Field:
        """The label field."""
        return self._names.field() if self._names else self._numbers.field()

    def remark(self) -> str:
        """What the user should know."""
        rest = f"{self._unlabelled} samples have no label" if self._unlabelled else ""
        return "; ".join(text for text in (self._numbers.remark(), rest) if text)
