"""Data sets and how they reach a network: arrays, files and drawn pictures, in batches of Tensors."""

from .dataset import ArrayDataset, DataError, Dataset, Subset
from .faces import load_synthetic_faces, synthetic_faces
from .happy_house import HappyHouse, load_happy_house, load_split
from .loader import DataLoader

__all__ = [
    "ArrayDataset", "DataError", "DataLoader", "Dataset", "HappyHouse", "Subset", "load_happy_house", "load_split",
    "load_synthetic_faces", "synthetic_faces",
]
