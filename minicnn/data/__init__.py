"""Data sets and how they reach a network: arrays, files and drawn pictures, in batches of Tensors."""

from . import filters, transforms
from .cifar10 import load_cifar10, load_cifar10_split
from .dataset import ArrayDataset, DataError, Dataset, Subset, TrainTest
from .downloads import download
from .faces import load_synthetic_faces, synthetic_faces
from .folders import PictureFolder, load_picture_folders
from .happy_house import HappyHouse, load_happy_house, load_split
from .loader import DataLoader
from .mnist import load_fashion, load_fashion_split, load_mnist, load_mnist_split
from .picture import read_picture
from .places import default_folder, find
from .show import augmentation_figure
from .split import fingerprint, split_off
from .targets import to_one_hot

__all__ = [
    "ArrayDataset", "DataError", "DataLoader", "Dataset", "HappyHouse", "PictureFolder", "Subset", "TrainTest",
    "augmentation_figure", "default_folder", "download", "filters", "find", "fingerprint", "load_cifar10",
    "load_cifar10_split", "load_fashion", "load_fashion_split", "load_happy_house", "load_mnist",
    "load_mnist_split", "load_picture_folders", "load_split", "load_synthetic_faces", "read_picture", "split_off",
    "synthetic_faces", "to_one_hot", "transforms",
]
