"""Random views of pictures, point clouds and vectors, drawn for a whole batch at a time on its own device. Mixtures."""

from hiercl.views.custom import Augmentation, AugmentedViews, one_by_one
from hiercl.views.images import ImageViews, ViewConfig, plain_image_views
from hiercl.views.mixing import box_mix, linear_mix, numbers_needed, plane_mix
from hiercl.views.points import PointViewConfig, PointViews, plain_point_views
from hiercl.views.vectors import VectorViewConfig, VectorViews, plain_vector_views, resolve_vector_views

Views = ImageViews | PointViews | VectorViews | AugmentedViews

__all__ = [
    "Augmentation",
    "AugmentedViews",
    "ImageViews",
    "PointViewConfig",
    "PointViews",
    "VectorViewConfig",
    "VectorViews",
    "ViewConfig",
    "Views",
    "box_mix",
    "linear_mix",
    "numbers_needed",
    "one_by_one",
    "plain_image_views",
    "plain_point_views",
    "plain_vector_views",
    "plane_mix",
    "resolve_vector_views",
]
