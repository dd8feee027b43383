"""What a user can say about LAB fields; apart from `lab_fields`, which needs OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from imagemill.errors import ConfigError

LabDtype: TypeAlias = Literal["float32", "float16", "uint8"]
LAB_DTYPES: tuple[LabDtype, ...] = ("float32", "float16", "uint8")

LEGACY_SIDE, LEGACY_CONTAINED = 224, 299


@dataclass(frozen=True)
class LabOptions:
    """What becomes of an image.

    Args:
        size: (height, width).
        scaled: L as 2L/100 - 1 and a, b as 1/127 of themselves, as the colour pipeline has them; else plain LAB.
        dtype: of L and ab: "float32"; "float16" (largest error 2**-11 of a scaled value, 0.03 of a plain one); or
            "uint8": L · 2.55 and a, b + 128, rounded (largest error 0.2 of L, 0.5 of a and b, in plain units).
        padding: a mask of the pixels that are image, 1, and not the white around it, 0.
        legacy: exactly what the colour pipeline's code did: contained in 299×299, then 224×224 bilinearly in float,
            from JPEGs decoded by the fast, less exact DCT. `size` and `dtype` have no say then.

    Raises:
        ConfigError: values that cannot work.
    """

    size: tuple[int, int] = (LEGACY_CONTAINED, LEGACY_CONTAINED)
    scaled: bool = True
    dtype: LabDtype = "float32"
    padding: bool = False
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.legacy:
            object.__setattr__(self, "size", (LEGACY_SIDE, LEGACY_SIDE))
            object.__setattr__(self, "dtype", "float32")
        if min(self.size) < 1:
            raise ConfigError(f"sides of LAB images are 1 or more, got {self.size}")
        if self.dtype not in LAB_DTYPES:
            raise ConfigError(f"unknown LAB dtype {self.dtype!r}; known: {', '.join(LAB_DTYPES)}")
