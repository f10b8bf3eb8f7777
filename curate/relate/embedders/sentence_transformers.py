"""Models of the sentence-transformers library, run by PyTorch, on a GPU where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.relate.embedders.onnx_runtime import GPU_BATCH_TOKENS
from curate.relate.embedders.transformer import BATCH_TOKENS


def load_library() -> Any:
    """The module ``sentence_transformers``.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import sentence_transformers
    except ImportError:
        raise RequestError(
            "embed.model: a model of PyTorch needs sentence-transformers: pip install "
            "'curate-corpus[sentence-transformers]'; an ONNX file in its folder (onnx/model.onnx) needs only the extra `onnx`"
        ) from None
    return sentence_transformers


class TorchForward:
    """A folder of sentence-transformers, with all of its layers."""

    def __init__(self, folder: Path, *, gpu: bool = False) -> None:
        library = load_library()
        import torch

        self._torch = torch
        self.device = "cuda" if gpu and torch.cuda.is_available() else "cpu"
        self._model = library.SentenceTransformer(str(folder), device=self.device, local_files_only=True)
        self._model.eval()
        if self.device == "cpu":
            torch.set_num_threads(1)  # parallelism is between tasks
        self.batch_tokens = GPU_BATCH_TOKENS if self.device == "cuda" else BATCH_TOKENS
        one = np.ones((1, 2), np.int64)
        self.dim = int(self(one, one).shape[1])

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[B, D]."""
        torch = self._torch
        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            found = self._model({name: array.to(self.device) for name, array in given.items()})
        return np.asarray(found["sentence_embedding"].float().cpu().numpy(), np.float32)
