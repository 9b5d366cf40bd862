"""Random views, a whole batch at a time on its own device: of pictures, and of point clouds."""

from collections.abc import Mapping
from typing import Any

from hiercl.runtime.config import from_json
from hiercl.views.images import ImageViews, ViewConfig
from hiercl.views.mixing import mixed, numbers_needed
from hiercl.views.points import PointViewConfig, PointViews

__all__ = [
    "VIEW_CONFIGS",
    "ImageViews",
    "PointViewConfig",
    "PointViews",
    "ViewConfig",
    "Views",
    "mixed",
    "numbers_needed",
    "views_of",
]

Views = ImageViews | PointViews
VIEW_CONFIGS = {"images": ViewConfig, "points": PointViewConfig}
"""The settings of views, by the kind of the items."""


def views_of(kind: str, settings: Mapping[str, Any]) -> Views:
    """Views of "images" or of "points" with these settings, as JSON keeps them.

    Example:
        >>> views_of("images", {"crop": 32}).size
        32
    """
    config = from_json(VIEW_CONFIGS[kind], settings)
    return ImageViews(config) if kind == "images" else PointViews(config)
