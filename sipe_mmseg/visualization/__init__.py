"""Pictures of what a model finds."""

from .gallery import draw_gallery, prediction_row
from .overlays import blend_heat, blend_labels, colour_heat, colour_labels, panel

__all__ = ['blend_heat', 'blend_labels', 'colour_heat', 'colour_labels', 'draw_gallery', 'panel', 'prediction_row']
