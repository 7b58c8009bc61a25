"""The libraries that minicnn is measured against. Each is imported only where it is asked for."""

import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..workloads import Workload

PEERS = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "cupy": "CuPy"}  # by the name of the package
NETWORKS = ("torch", "onnxruntime")  # those that run whole networks


def missing(peer: str) -> str | None:
    """Why a peer can't be used here; None if it can. Nothing is imported."""
    if importlib.util.find_spec(peer) is None:
        return f"{PEERS[peer]} is not installed (pip install {peer})"
    if peer == "onnxruntime":  # its networks are exported from PyTorch's
        for helper in ("torch", "onnxscript"):
            if importlib.util.find_spec(helper) is None:
                return f"to export a network for ONNX Runtime takes {helper}, which is not installed"
    return None


def unavailable(peer: str, work: "Workload | None" = None, device: str = "cpu") -> str | None:
    """Why there is no peer to measure a workload against: "" if none was asked for; None if there is one."""
    reason = missing(peer) if peer else ""
    if reason is None and peer == "torch":
        from . import torch_peer

        if device != "cpu" and not torch_peer.torch.cuda.is_available():
            return "this PyTorch can't use a GPU"
    if reason is None and work is not None:
        from . import torch_peer

        if not torch_peer.has(work):
            return f"there is no rendering of {work.name} for {PEERS[peer]}"
    return reason


def version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
