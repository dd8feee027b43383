"""Reads TFRecord shards as TensorFlow's documentation says; run by the Python that has TensorFlow.

    python read_tfrecords.py JOB.json OUT.json

JOB holds `files` (compression type → paths) and `features` (name → [kind, shape]); OUT gets, for every compression
type, the rows in order: bytes in hex, numbers as lists. Images are decoded as well, under `NAME:decoded`.
"""

import json
import sys

import tensorflow as tf

KINDS = {"bytes": tf.string, "float": tf.float32, "int64": tf.int64}


def spec(kind: str, shape: list[int] | None) -> object:
    if shape is None:
        return tf.io.FixedLenSequenceFeature([], KINDS[kind], allow_missing=True)
    return tf.io.FixedLenFeature(shape, KINDS[kind])


def plain(array: object) -> object:
    return array.hex() if isinstance(array, bytes) else array.tolist()


def parse(record: tf.Tensor, features: dict[str, object]) -> dict[str, tf.Tensor]:
    example = tf.io.parse_single_example(record, features)
    pixels = tf.io.decode_raw(example["pixels"], tf.uint8)
    return {
        **example,
        "image:decoded": tf.io.decode_image(example["image"]),
        "pixels:decoded": tf.reshape(pixels, example["pixels/shape"]),
        "score:decoded": tf.io.decode_raw(example["score"], tf.float64),
    }


def main(job_path: str, out_path: str) -> None:
    with open(job_path, encoding="utf-8") as file:
        job = json.load(file)
    features = {name: spec(*entry) for name, entry in job["features"].items()}
    read = {}
    for compression, paths in job["files"].items():
        records = tf.data.TFRecordDataset(paths, compression_type=compression)
        examples = records.map(lambda record: parse(record, features))
        read[compression] = [
            {name: plain(value) for name, value in example.items()} for example in examples.as_numpy_iterator()
        ]
    with open(out_path, "w", encoding="utf-8") as file:
        json.dump(read, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
