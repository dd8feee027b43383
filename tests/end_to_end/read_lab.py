"""Reads the colour pipeline's records by the feature spec of its own reader; run by the Python that has TensorFlow.

python read_lab.py FOLDER OUT.npz
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

SIDE = 224
FEATURES = {
    "image_name": tf.io.FixedLenFeature([], tf.string),
    "image_l": tf.io.FixedLenFeature([SIDE * SIDE], tf.float32),
    "image_ab": tf.io.FixedLenFeature([SIDE * SIDE * 2], tf.float32),
    "image_embedding": tf.io.FixedLenFeature([1001], tf.float32),
}


def main(folder: str, out: str) -> None:
    arrays = {}
    for prefix in ("", "val_"):
        paths = sorted(str(path) for path in Path(folder).glob(f"{prefix}lab_images_*.tfrecord"))
        for record in tf.data.TFRecordDataset(paths):
            example = tf.io.parse_single_example(record, FEATURES)
            name = prefix + Path(example["image_name"].numpy().decode()).name
            arrays[f"{name}|l"] = tf.reshape(example["image_l"], [SIDE, SIDE, 1]).numpy()
            arrays[f"{name}|ab"] = tf.reshape(example["image_ab"], [SIDE, SIDE, 2]).numpy()
            arrays[f"{name}|emb"] = example["image_embedding"].numpy()
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
