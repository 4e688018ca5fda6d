"""Writes data-fixtures/digits/digits.parquet: scikit-learn's bundled digits, 1,797 images of 8 × 8 grey levels 0–16.

pip install scikit-learn==1.9.1 pyarrow==26.0.1, then python scripts/make_digits.py
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.datasets import load_digits

TARGET = Path(__file__).resolve().parent.parent / "data-fixtures" / "digits" / "digits.parquet"


def main() -> None:
    digits = load_digits()
    values = pa.array(digits.data.astype(np.float32).ravel())
    columns = {
        "id": pa.array([f"digit-{number:04}" for number in range(len(digits.target))]),
        "embedding": pa.FixedSizeListArray.from_arrays(values, digits.data.shape[1]),
        "document": pa.nulls(len(digits.target), pa.string()),
        "metadata": pa.array([json.dumps({"label": int(label)}) for label in digits.target]),
    }
    pq.write_table(pa.table(columns), TARGET, compression="zstd")


if __name__ == "__main__":
    main()
