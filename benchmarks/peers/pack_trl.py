"""TRL's packer over documents of given lengths: `python pack_trl.py LENGTHS.npy WINDOW`, for benchmarks/packing.py.

Runs where `datasets` is installed, with the folder of `pip install --no-deps --target FOLDER trl` on
PYTHONPATH. Prints windows and the seconds of the best of three: planning, and putting the tokens in their order.
"""

import sys
import time
from types import ModuleType

import numpy as np
import pyarrow as pa

transformers = ModuleType("transformers")  # the packer only names two of its classes
transformers.PreTrainedTokenizerBase = transformers.ProcessorMixin = object
sys.modules["transformers"] = transformers

from trl.data_utils import _pack_bfd  # noqa: E402

lengths, window = np.load(sys.argv[1]), int(sys.argv[2])
offsets = np.concatenate([[0], np.cumsum(lengths)])
ids = pa.array(np.zeros(offsets[-1], np.uint16))
table = pa.table({"input_ids": pa.LargeListArray.from_arrays(pa.array(offsets), ids)})
taken, packed = [], table
for _ in range(3):
    began = time.perf_counter()
    packed = _pack_bfd(table, window, "split")
    taken.append(time.perf_counter() - began)
print(packed.num_rows, min(taken))
