"""Data sets with a class hierarchy: load one by its name, or from pictures and array stores of your own."""

from hiercl.datasets import clouds
from hiercl.datasets.base import HierarchicalDataset, check_same_hierarchy, read_store
from hiercl.datasets.feature_reading import read_features
from hiercl.datasets.items import FORMS, ItemForm, form_of, item_hashes
from hiercl.datasets.loader import Feed, embed_with, look_up
from hiercl.datasets.pictures.files import PictureFiles, UnreadablePictures
from hiercl.datasets.pictures.folder import folder
from hiercl.datasets.pictures.table import table
from hiercl.datasets.root import data_root
from hiercl.datasets.sources import load, names
from hiercl.datasets.store import write_store

__all__ = [
    "FORMS",
    "Feed",
    "HierarchicalDataset",
    "ItemForm",
    "PictureFiles",
    "UnreadablePictures",
    "check_same_hierarchy",
    "clouds",
    "data_root",
    "embed_with",
    "folder",
    "form_of",
    "item_hashes",
    "load",
    "look_up",
    "names",
    "read_features",
    "read_store",
    "table",
    "write_store",
]
