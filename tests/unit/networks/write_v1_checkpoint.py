"""Writes a V1 checkpoint of random variables by TensorFlow's own saver; run by the Python that has TensorFlow.

python write_v1_checkpoint.py OUT.ckpt OUT.npz, the values as TensorFlow has them, `|` for `/` in names.
"""

import sys

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
BLOCK = "InceptionResnetV2/Repeat/block35_1"


def main(checkpoint: str, arrays: str) -> None:
    rng = np.random.default_rng(0)
    values = {
        "InceptionResnetV2/Conv2d_1a_3x3/weights": rng.standard_normal((3, 3, 3, 32), np.float32),
        "InceptionResnetV2/Conv2d_1a_3x3/BatchNorm/moving_variance": rng.random(32, np.float32),
        f"{BLOCK}/Branch_2/Conv2d_0c_3x3/weights": rng.standard_normal((3, 3, 48, 64), np.float32),
        f"{BLOCK}/Conv2d_1x1/biases": rng.standard_normal(320, np.float32),
        "global_step": np.int64(-123_456_789_012),
        "double": rng.standard_normal(7),
        "integers": np.arange(-5, 5, dtype=np.int32),
        "bytes": np.arange(250, 256).astype(np.uint8),
        "small": np.arange(-3, 3).astype(np.int8),
        "truths": np.array([True, False, True]),
        "scalar": np.float32(3.5),
        "empty": np.zeros((0, 3), np.float32),
    }
    with tf.Graph().as_default(), tf1.Session() as session:
        held = {
            name: tf1.get_variable(name, initializer=np.asarray(value), use_resource=False)
            for name, value in values.items()
        }
        parted = tf1.get_variable(
            "parted",
            shape=(10, 4),
            initializer=tf1.random_normal_initializer(seed=1),
            partitioner=tf1.fixed_size_partitioner(3),
            use_resource=False,
        )
        session.run(tf1.global_variables_initializer())
        found = session.run({**held, "parted": parted.as_tensor()})
        saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
        saver.save(session, checkpoint, write_meta_graph=False, write_state=False)
    np.savez(arrays, **{name.replace("/", "|"): value for name, value in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
