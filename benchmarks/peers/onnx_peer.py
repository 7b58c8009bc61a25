"""ONNX Runtime's side: the network of PyTorch's side, exported."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

from ..workloads import Batch, Workload
from .torch_peer import build


@cache
def _folder() -> "TemporaryDirectory[str]":
    """For the exported networks of this process; goes with it."""
    return TemporaryDirectory(prefix="minicnn-benchmarks-")


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter tells how it gets on, on standard output and by warnings."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def export(work: Workload, batch: int) -> Path:
    """The file of a network for batches of that size, made when first asked for."""
    path = Path(_folder().name) / f"{work.name}-{batch}.onnx"
    if not path.exists():
        height, width, channels = work.shape
        with _quietly():
            torch.onnx.export(build(work).eval(), (torch.zeros(batch, channels, height, width),), path,
                              input_names=["pictures"], dynamo=True, verbose=False)
    return path


class Inference:
    """Answers of a session that runs the layers one after the other, each on so many threads."""

    def __init__(self, work: Workload, data: Sequence[Batch], threads: int):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        # Its threads look for work for a while after each answer: on two cores they would slow the other side down.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        path = export(work, len(data[0][0]))
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.data = cycle([np.ascontiguousarray(x.transpose(0, 3, 1, 2)) for x, _ in data])

    def step(self) -> np.ndarray:
        """The logits (N, classes) of the next batch."""
        return self.session.run(None, {"pictures": next(self.data)})[0]
