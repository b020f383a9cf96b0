"""Checkpoints are written in pieces, so that a replay of images is not copied as a whole."""

import numpy as np
import pytest
import tensorflow as tf

from mtq.runs import checkpoint


@pytest.mark.parametrize("piece", [7, 2**23])
def test_arrays_that_are_written_in_pieces_are_read_by_numpy(tmp_path, monkeypatch, piece):
    monkeypatch.setattr(checkpoint, "_PIECE", piece)
    random = np.random.default_rng(0)
    arrays = {
        "a/images": random.integers(256, size=(10, 3)).astype(np.uint8),
        "vector": random.normal(size=20).astype(np.float32),
        "scalar": np.array(3, np.int64),
        "flag": np.array(True),
        "empty": np.zeros(0, np.int64),
        "none": np.zeros((5, 0), np.float32),
        "deep": random.normal(size=(9, 2, 4)).astype(np.float32),
    }
    checkpoint._write(tmp_path / "a.npz", {name: tf.Variable(array) for name, array in arrays.items()})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert {name.replace("|", "/") for name in file.files} == set(arrays)
        for name, array in arrays.items():
            saved = file[name.replace("/", "|")]
            assert saved.dtype == array.dtype
            np.testing.assert_array_equal(saved, array)
