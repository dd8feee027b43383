"""A packed dataset with a vector a sample, so that it is packed like anything else: any format, engine, rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from imagemill.core.recipe import FILE_PIXELS
from imagemill.core.sample import Array, Encoded, Sample, Value
from imagemill.core.schema import Field, Schema
from imagemill.curate.inspect import inspect, rgb_pixels
from imagemill.curate.isolated import Isolated
from imagemill.curate.limits import Limits
from imagemill.errors import ConfigError, SampleError
from imagemill.networks.embedders import ModelChoice, described, load_embedder
from imagemill.sources.base import Scan, Source, SourceOptions
from imagemill.sources.packed import DatasetSource, value_of
from imagemill.transforms.embed import Vector, embed_all

BATCHES_A_BLOCK = 8
"""So many batches are embedded at once: what all cores are busy with, and what is lost at a kill."""

_VECTOR = "vector"

Found: TypeAlias = Vector | SampleError


class EmbeddedSource(Source):
    """The samples of a dataset with a vector more.

    Images are embedded in blocks: so many neighbours in a shard of the dataset that is read. So a vector depends on
    that dataset and on the model, and on nothing of the run: not on workers, cores, kills, or the shards written.

    Args:
        source: the dataset.
        choice: which model.
        field: name of the vectors.
        image: name of the image field; None where there is one.
        threads: cores of a worker.

    Raises:
        ConfigError: no such image field, or several, or the dataset has a field of that name.
    """

    kind = "embedded"

    def __init__(
        self, source: DatasetSource, choice: ModelChoice, *, field: str, image: str | None = None, threads: int = 1
    ) -> None:
        super().__init__(source.path, SourceOptions())
        manifest = source.store().manifest
        self.source = source
        self.choice = choice
        self.field = field
        self.image = image_field(manifest.schema, image)
        if field in manifest.schema.names:
            raise ConfigError(f"the dataset has a field {field!r} already: --field NAME gives the vectors another name")
        self.threads = threads
        self.pixels = source.pixels
        # Embedding takes its time; it is no slow decoder.
        self.remote = True
        recipe = manifest.recipe
        self.limits = Limits(**{limit.name: recipe[limit.name] for limit in fields(Limits) if limit.name in recipe})
        # What was decoded when it was packed, and has the digest that it had, decodes again.
        self.proven = manifest.pixels not in FILE_PIXELS or recipe.get("decode") == "full"
        self.identity = load_embedder(choice).identity(choice)
        self._block: dict[tuple[str, int], Found] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_block": {}}

    def described(self) -> dict[str, Any]:
        """See `Source.described`: the dataset's own, and the model's identity."""
        ours = {"kind": self.kind, "field": self.field, "image": self.image}
        return {**ours, "of": self.source.described(), "model": self.identity}

    def scan(self, listing_path: Path) -> Scan:
        """See `Source.scan`."""
        scan = self.source.scan(listing_path)
        vectors = Field(self.field, "vector", "float32", (self.identity["dimension"],), "raw")
        remarks = (*scan.remarks, f"{self.field}: {described(self.identity)}")
        return Scan(scan.listing, (*scan.fields, vectors), scan.rejects, scan.ignored, scan.found, remarks)

    def fetch(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with its vector; the first of a block waits for all of it."""
        row = self.source.fetch(row)
        wanted = row["split"], row["position"]
        if wanted not in self._block:
            self._block = self._embedded(*wanted)
        return {**row, _VECTOR: self._block[wanted]}

    def read(self, row: Mapping[str, Any]) -> Sample:
        """The sample of one listing row.

        Raises:
            SampleError: the image cannot be used.
        """
        found = row[_VECTOR] if _VECTOR in row else self.fetch(row)[_VECTOR]
        if isinstance(found, SampleError):
            raise found
        sample = self.source.read(row)
        return Sample(sample.key, {**sample.values, self.field: found}, sample.origins)

    def _embedded(self, split: str, position: int) -> dict[tuple[str, int], Found]:
        """Vectors of the block that a sample lies in, by split and position."""
        store = self.source.store()
        shard, row = store.locate(split, [position])
        first, count = position - int(row[0]), store.manifest.splits[split][int(shard[0])].count
        size = self.choice.images_at_once * BATCHES_A_BLOCK
        start = int(row[0]) // size * size
        positions = range(first + start, first + min(start + size, count))
        field = store.schema[self.image]
        rows = store.read(split, positions, [self.image])
        values = [value_of(field, stored.values[self.image]) for stored in rows]
        pictures = self._proven(values)
        found = embed_all(load_embedder(self.choice), pictures, self.choice.images_at_once, self.threads)
        return {(split, place): vector for place, vector in zip(positions, found, strict=True)}

    def _proven(self, values: list[Value]) -> list[Callable[[], Array]]:
        """What gives the pixels of each image; those that nobody ever decoded are first decoded in a child process."""
        fast_dct = bool(self.identity["preprocessing"]["fast_dct"])
        pictures: list[Callable[[], Array]] = [
            partial(rgb_pixels, value, self.limits, full=False, fast_dct=fast_dct) for value in values
        ]
        if self.proven:
            return pictures
        with Isolated(Prover(self.limits), self.limits) as prove:
            for number, value in enumerate(values):
                if isinstance(value, Encoded):
                    try:
                        prove(bytes(value.data))
                    except SampleError as error:
                        pictures[number] = partial(_refused, error)
        return pictures


class Prover:
    """Decodes an image's bytes; picklable."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def __call__(self, content: bytes) -> None:
        """Raises SampleError where it cannot be decoded."""
        inspect(content, self.limits, full=True)


def _refused(error: SampleError) -> Array:
    raise error


def image_field(schema: Schema, image: str | None) -> str:
    """The image field that is meant.

    Raises:
        ConfigError: none, several and none named, or another kind of field.
    """
    names = [field.name for field in schema.of_kind("image")]
    if image is None and len(names) == 1:
        return names[0]
    if image not in names:
        has = f"has the image fields {', '.join(names)}" if names else "has no images"
        which = "say which with --image NAME" if image is None else f"{image!r} is none of them"
        raise ConfigError(f"the dataset {has}" + (f": {which}" if names else ""))
    assert image is not None
    return image
