"""Sentence-embedding models as ONNX files: run by ONNX Runtime, on a GPU where it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.base.errors import RequestError
from curate.relate.embedders.transformer import BATCH_TOKENS

GPU_BATCH_TOKENS = 32_768


def load_runtime() -> Any:
    """The module ``onnxruntime``.

    Raises:
        RequestError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise RequestError(
            "embed.model: an ONNX model needs ONNX Runtime: pip install 'curate-corpus[onnx]' "
            "(on GPUs onnxruntime-gpu instead)"
        ) from None
    return onnxruntime


def pooling_of(folder: Path) -> str:
    """``mean`` or ``cls``, as the folder's pooling module says; mean when it says nothing.

    Raises:
        RequestError: it says something else, or has layers after it.
    """
    modules = folder / "modules.json"
    layers = [entry["type"].rsplit(".", 1)[-1] for entry in _json(modules)] if modules.is_file() else []
    more = [layer for layer in layers if layer not in ("Transformer", "Pooling", "Normalize")]
    if more:
        raise RequestError(
            f"embed.model: {folder.name} has a layer {more[0]} outside its ONNX file; remove the file, and "
            "sentence-transformers will run the model"
        )
    config = folder / "1_Pooling" / "config.json"
    said = _json(config) if config.is_file() else {}
    modes = [
        name.removeprefix("pooling_mode_")
        for name, on in said.items()
        if name.startswith("pooling_mode_") and on is True
    ]
    mode = said.get("pooling_mode") or (
        modes[0] if len(modes) == 1 else "mean_tokens" if not modes else "+".join(modes)
    )
    known = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
    if mode not in known:
        raise RequestError(f"embed.model: {folder.name} pools by {mode}; ONNX models may pool by mean or cls")
    return known[mode]


class OnnxForward:
    """An ONNX file with inputs input_ids, attention_mask and perhaps token_type_ids.

    Its output of two dimensions is taken as it is; one of three dimensions is pooled.
    """

    def __init__(self, path: Path, pooling: str, *, gpu: bool = False) -> None:
        runtime = load_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # parallelism is between tasks
        options.log_severity_level = 3
        providers = (
            ["CUDAExecutionProvider"] if gpu and "CUDAExecutionProvider" in runtime.get_available_providers() else []
        )
        self.batch_tokens = GPU_BATCH_TOKENS if providers else BATCH_TOKENS
        self._session = runtime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"])
        self._inputs = {one.name for one in self._session.get_inputs()}
        unknown = self._inputs - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown or "input_ids" not in self._inputs:
            raise RequestError(
                f"embed.model: {path.name} has inputs {sorted(self._inputs)}; a text model has input_ids"
            )
        outputs = self._session.get_outputs()
        pooled = [one.name for one in outputs if len(one.shape) == 2]
        self._output, self._pooling = (pooled[0], "") if pooled else (outputs[0].name, pooling)
        one = np.ones((1, 2), np.int64)
        self.dim = int(self(one, one).shape[1])

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[B, D]."""
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feed = {name: array for name, array in given.items() if name in self._inputs}
        states = np.asarray(self._session.run([self._output], feed)[0], np.float32)
        if states.ndim == 2:
            return states
        if self._pooling == "cls":
            return np.ascontiguousarray(states[:, 0])
        weights = mask.astype(np.float32)[:, :, None]
        return np.asarray((states * weights).sum(axis=1) / weights.sum(axis=1), np.float32)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
