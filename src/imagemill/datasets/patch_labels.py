"""Labels of patches of images, as the super-resolution family's labelling tool wrote them: what `labeler` asks for.

The file is JSON: any key → {"label", "index", "labeledImages": [{"path", "label", "patch_top", "patch_left",
"patch_height", "patch_width"}]}, paths relative to the images' folder, patches in pixels of the whole image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imagemill.errors import ConfigError

KIND = "patch_labels"


class Patch(NamedTuple):
    """A labelled rectangle, in pixels of the whole image."""

    label: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class PatchLabels:
    """The patches of many images.

    Args:
        strings: number of a label → its name.
        patches: path of an image, with `/` → its patches, in the order of the file; later ones lie on top.
    """

    strings: Mapping[int, str]
    patches: Mapping[str, tuple[Patch, ...]]

    def of(self, path: str, height: int, width: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
        """(labels, mask) of an image of these sides, (height, width) each: 0 and 0 where nothing is labelled."""
        labels, mask = np.zeros((height, width), np.int32), np.zeros((height, width), np.uint8)
        for patch in self.patches[path]:
            place = slice(patch.top, patch.top + patch.height), slice(patch.left, patch.left + patch.width)
            labels[place], mask[place] = patch.label, 1
        return labels, mask


def read_labeler(options: Mapping[str, Any]) -> PatchLabels:
    """What the option `labeler` names: {"type": "patch_labels", "label_file": FILE or a list of them}.

    Raises:
        ConfigError: another type, a file that cannot be read, or that is none of this kind.
    """
    if options.get("type") != KIND or set(options) - {"type", "label_file"} or "label_file" not in options:
        raise ConfigError(f"labeler is {{'type': '{KIND}', 'label_file': FILE}}, got {dict(options)!r}")
    files = options["label_file"]
    strings: dict[int, str] = {}
    patches: dict[str, list[Patch]] = {}
    for file in files if isinstance(files, Sequence) and not isinstance(files, str) else [files]:
        try:
            categories = json.loads(Path(file).expanduser().read_text("utf-8"))
            _add(categories, strings, patches)
        except OSError as error:
            raise ConfigError(f"label_file {file} cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"label_file {file} has no labelled patches ({error!r})") from None
    return PatchLabels(strings, {path: tuple(found) for path, found in patches.items()})


def _add(categories: Mapping[str, Any], strings: dict[int, str], patches: dict[str, list[Patch]]) -> None:
    numbers = {category["label"]: int(category["index"]) for category in categories.values()}
    strings |= {number: str(label) for label, number in numbers.items()}
    for category in categories.values():
        for image in category["labeledImages"]:
            box = [int(image[f"patch_{part}"]) for part in ("top", "left", "height", "width")]
            if min(box[:2]) < 0 or min(box[2:]) < 1:
                raise ValueError(f"a patch of {image['path']} at {box}")
            path = image["path"].replace("\\", "/").lstrip("/")
            patches.setdefault(path, []).append(Patch(numbers[image["label"]], *box))
