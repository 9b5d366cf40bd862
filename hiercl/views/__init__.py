"""Random views, drawn for a whole batch at a time on its own device: of pictures and of point clouds. Mixtures."""

from hiercl.views.images import ImageViews, ViewConfig, plain_image_views
from hiercl.views.mixing import box_mix, numbers_needed, plane_mix
from hiercl.views.points import PointViewConfig, PointViews, plain_point_views

Views = ImageViews | PointViews

__all__ = [
    "ImageViews",
    "PointViewConfig",
    "PointViews",
    "ViewConfig",
    "Views",
    "box_mix",
    "numbers_needed",
    "plain_image_views",
    "plain_point_views",
    "plane_mix",
]
