"""A source's images as LAB fields, so that they are packed like anything else: `pack --fields lab`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagemill.core.sample import Sample, Value
from imagemill.core.schema import Field
from imagemill.curate.inspect import rgb_pixels
from imagemill.curate.limits import Limits
from imagemill.prepare.tile_cutting import is_picture, require_one_image
from imagemill.sources.base import Scan, Source, SourceOptions
from imagemill.transforms.lab_fields import lab_fields
from imagemill.transforms.lab_options import LabOptions

NAME_FIELD, LIGHTNESS_FIELD, CHROMA_FIELD, PADDING_FIELD = "image_name", "image_l", "image_ab", "image_padding"
"""As the colour pipeline names its features."""


class LabSource(Source):
    """The samples of a source with `image_name`, `image_l`, `image_ab` in place of their image.

    Args:
        source: of samples with exactly one image; its other fields stay.
        options: what becomes of the image.
        limits: what one image may cost.
    """

    kind = "lab"

    def __init__(self, source: Source, options: LabOptions, limits: Limits) -> None:
        super().__init__(source.path, SourceOptions())
        self.source = source
        self.lab = options
        self.limits = limits
        self.remote = source.remote

    def described(self) -> dict[str, Any]:
        """See `Source.described`."""
        return {"kind": self.kind, "of": self.source.described(), **asdict(self.lab), "size": list(self.lab.size)}

    def fetch(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `Source.fetch`."""
        return self.source.fetch(row)

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`.

        Raises:
            ConfigError: samples without an image, or with several.
        """
        scan = self.source.scan(listing_path)
        require_one_image(scan.fields, "LAB fields")
        others = tuple(field for field in scan.fields if field.kind != "image")
        return Scan(scan.listing, (*self._fields(), *others), scan.rejects, scan.ignored, scan.found, scan.remarks)

    def _fields(self) -> tuple[Field, ...]:
        height, width = self.lab.size
        made = [
            Field(NAME_FIELD, "text", codec="utf8"),
            Field(LIGHTNESS_FIELD, "vector", self.lab.dtype, (height, width, 1), "raw"),
            Field(CHROMA_FIELD, "vector", self.lab.dtype, (height, width, 2), "raw"),
        ]
        if self.lab.padding:
            made.append(Field(PADDING_FIELD, "vector", "uint8", (height, width), "raw"))
        return tuple(made)

    def read(self, row: Mapping[str, Any]) -> Sample:
        """See `Source.read`.

        Raises:
            SampleError: the image cannot be used.
        """
        sample = self.source.read(row)
        name, value = next((name, value) for name, value in sample.values.items() if is_picture(value))
        # The pipeline's records were made of what TensorFlow's decoder gave.
        made = lab_fields(rgb_pixels(value, self.limits, full=True, fast_dct=self.lab.legacy), self.lab)
        values: dict[str, Value] = {NAME_FIELD: sample.origins.get(name, sample.key)}
        values |= {LIGHTNESS_FIELD: made.lightness, CHROMA_FIELD: made.chroma}
        if made.padding is not None:
            values[PADDING_FIELD] = made.padding
        others = {field: other for field, other in sample.values.items() if field != name}
        return Sample(sample.key, {**values, **others}, {})
