"""Reads a set that `lots generate` has made of mnist:train, and checks what it says. Called by check_set.sh."""

import glob
import gzip
import io
import sys
import tempfile

import datasets
import numpy as np
import onnxruntime
import pandas
import polars
from PIL import Image

model, folder, mnist = sys.argv[1:]
rows = pandas.read_parquet(folder)
print(f"pandas: {len(rows)} rows, columns {', '.join(rows.columns)}")

lazy = polars.read_parquet(f"{folder}/*.parquet")
assert lazy.shape == rows.shape, (lazy.shape, rows.shape)
assert (lazy["l2"].to_numpy() == rows["l2"].to_numpy()).all()
print(f"polars: the same, {lazy.schema['image']}")

with tempfile.TemporaryDirectory() as cache:
    loaded = datasets.load_dataset(folder, cache_dir=cache)["train"]
    assert len(loaded) == len(rows)
    assert isinstance(loaded.features["image"], datasets.Image), loaded.features
    assert isinstance(loaded.features["label"], datasets.ClassLabel), loaded.features
    assert loaded[len(rows) - 1]["image"].size == (28, 28)
    print(f"datasets: the same, {loaded[0]['image']}, {loaded.features['label']}")

packed = glob.glob(f"{mnist}/*images*")[0]
origins = np.frombuffer(gzip.open(packed).read()[16:], np.uint8).reshape(-1, 28, 28).astype(float)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
wrong = 0
for row in rows.itertuples():
    image = np.array(Image.open(io.BytesIO(row.image["bytes"]))).astype(float)
    difference = image - origins[row.origin]
    assert abs(np.sqrt((difference**2).sum()) - row.l2) < 1e-9, row
    assert abs(difference).max() == row.linf, row
    logits = session.run(None, {name: image[None, None].astype(np.float32)})[0]
    wrong += int(logits.argmax()) != row.adversarial_label
    assert row.adversarial_label != row.label
    assert row.target_label is None or row.target_label != row.label
print(f"ONNX Runtime: {len(rows) - wrong} of {len(rows)} images have the recorded class; their norms are those recorded")
sys.exit(wrong > 0)
