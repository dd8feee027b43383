"""`croissant.json`: the dataset as mlcroissant, and whatever else reads Croissant, understands it.

The vocabulary is that of https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from imagemill.core.manifest import Manifest
from imagemill.core.schema import Field, Schema
from imagemill.formats.parquet_columns import has_elements, is_file, stored_dtype

# Croissant (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html)

_OWN_TERMS = (
    "arrayShape annotation citeAs column containedIn equivalentProperty excludes extract field fileObject fileProperty "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references regex "
    "repeated replace samplingRate separator source subField transform"
)

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _OWN_TERMS.split()},
}

_MEDIA_TYPES = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".h5": "application/x-hdf5",
    ".npy": "https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html",
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
    ".tfrecord": "https://www.tensorflow.org/tutorials/load_data/tfrecord",
}
"""By suffix: a registered type, else what mlcroissant calls it, else the page that describes it."""

PNG_DTYPES = ("bool", "uint8", "uint16")

_NUMBER_TYPES = {"i": "cr:Int{}", "u": "cr:UInt{}", "f": "cr:Float{}"}


def croissant(manifest: Manifest) -> str:
    """The text of `croissant.json`: every shard with its sha256, splits, classes and, for Parquet, the fields.

    A pure function: equal manifests give equal text. Licence, citation and date of publication, which validators
    recommend, are left to whoever publishes.
    """
    record_sets = [_splits_record_set(manifest), *_class_record_sets(manifest.schema)]
    if manifest.format == "parquet":
        record_sets.append(_sample_record_set(manifest.schema))
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"imagemill-{str(manifest.source.get('fingerprint', ''))[:12] or manifest.format}",
        "description": description(manifest),
        "version": "1.0.0",
        "distribution": [*_file_sets(manifest), *_file_objects(manifest)],
        "recordSet": record_sets,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def description(manifest: Manifest) -> str:
    """What the dataset is, in one sentence."""
    parts = ", ".join(f"{manifest.count(split):,} in {split}" for split in manifest.splits)
    kinds = ", ".join(f"{field.name} ({field.kind})" for field in manifest.schema)
    return (
        f"{manifest.count():,} samples ({parts}) with {kinds}; {manifest.pixels} pixels, stored as {manifest.format} "
        f"by imagemill {manifest.versions.get('imagemill', '')}".rstrip()
        + "."
    )


def _file_objects(manifest: Manifest) -> list[dict[str, Any]]:
    files = [file for shards in manifest.splits.values() for shard in shards for file in shard.files]
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.path,
            "name": PurePosixPath(file.path).name,
            "contentUrl": file.path,
            "contentSize": f"{file.size_bytes} B",
            "encodingFormat": _media_type(file.path),
            "sha256": file.sha256,
        }
        for file in files
    ]


def _file_sets(manifest: Manifest) -> list[dict[str, Any]]:
    patterns = [pattern for split in manifest.splits for pattern in shard_patterns(manifest, split)]
    kinds = {_media_type(pattern): None for pattern in patterns}
    return [
        {
            "@type": "cr:FileSet",
            "@id": "shards" if len(kinds) == 1 else f"shards-{number}",
            "name": "shards",
            "description": "All shards of all splits.",
            "encodingFormat": kind,
            "includes": [pattern for pattern in patterns if _media_type(pattern) == kind],
        }
        for number, kind in enumerate(kinds)
    ]


def _media_type(path: str) -> str:
    suffixes = PurePosixPath(path).suffixes
    return next((_MEDIA_TYPES[suffix] for suffix in suffixes if suffix in _MEDIA_TYPES), "application/octet-stream")


def shard_patterns(manifest: Manifest, split: str) -> list[str]:
    """Globs of the files of a split, relative to the dataset: `data/train-[0-9]*-of-[0-9]*.arrow`.

    The digits keep `train` from taking the shards of a split `train-extra`.
    """
    named = f"{split}-[0-9]*-of-[0-9]*"
    patterns = [file.path.replace(shard.name, named) for shard in manifest.splits[split] for file in shard.files]
    return list(dict.fromkeys(patterns))


def _splits_record_set(manifest: Manifest) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"}],
        "data": [{"splits/name": split} for split in manifest.splits],
    }


def _class_record_sets(schema: Schema) -> list[dict[str, Any]]:
    found = []
    for field in schema:
        if not field.class_names:
            continue
        name = f"{field.name}_classes"
        found.append(
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "description": f"What the integers of {field.name} mean.",
                "dataType": "sc:Enumeration",
                "key": {"@id": f"{name}/index"},
                "field": [
                    {"@type": "cr:Field", "@id": f"{name}/index", "name": "index", "dataType": "sc:Integer"},
                    {"@type": "cr:Field", "@id": f"{name}/name", "name": "name", "dataType": "sc:Text"},
                ],
                "data": [
                    {f"{name}/index": index, f"{name}/name": text} for index, text in enumerate(field.class_names)
                ],
            }
        )
    return found


def _sample_record_set(schema: Schema) -> dict[str, Any]:
    from_path = {
        "fileSet": {"@id": "shards"},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": r"^.*/([^/]+)-[0-9]+-of-[0-9]+\.parquet$"},
    }
    split = {"dataType": "sc:Text", "source": from_path, "references": {"field": {"@id": "splits/name"}}}
    described = {"split": split, "key": {"dataType": "sc:Text", "source": _column("key")}}
    described |= {field.name: {**_data_type(field), "source": _source(field)} for field in schema}
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "field": [
            {"@type": "cr:Field", "@id": f"samples/{name}", "name": name, **kind} for name, kind in described.items()
        ],
    }


def _column(name: str) -> dict[str, Any]:
    return {"fileSet": {"@id": "shards"}, "extract": {"column": name}}


def _source(field: Field) -> dict[str, Any]:
    """Where a field's values lie; files have a column of two parts, `bytes` and `path`."""
    column = _column(field.name)
    return {**column, "transform": {"jsonPath": "bytes"}} if is_file(field) else column


def _data_type(field: Field) -> dict[str, Any]:
    """Data type of a Parquet column; Croissant has none for plain bytes, and its text may hold any."""
    if is_file(field):
        # What PNG cannot hold was a .npy file.
        is_array = field.kind == "mask" and field.codec == "encoded" and field.dtype not in PNG_DTYPES
        return {"dataType": "sc:Text" if is_array else "sc:ImageObject"}
    if not has_elements(field):
        return {"dataType": "sc:Text"}
    dtype = stored_dtype(field)
    kind = _NUMBER_TYPES[dtype.kind].format(dtype.itemsize * 8) if dtype.kind in _NUMBER_TYPES else "sc:Boolean"
    if field.storage == "scalar":
        return {"dataType": kind}
    side = (field.shape or (None,))[0]
    return {"dataType": kind, "isArray": True, "arrayShape": str(side or -1)}
