"""Pictures of what a model finds, and of how it learned it."""

from .cam_visualization_hook import CAMVisualizationHook
from .curves import draw_curves, read_curves
from .gallery import draw_gallery, prediction_panel, prediction_row
from .local_visualizer import SIPELocalVisualizer
from .overlays import blend_heat, blend_labels, colour_heat, colour_labels, panel

__all__ = [
    'CAMVisualizationHook',
    'SIPELocalVisualizer',
    'blend_heat',
    'blend_labels',
    'colour_heat',
    'colour_labels',
    'draw_curves',
    'draw_gallery',
    'panel',
    'prediction_panel',
    'prediction_row',
    'read_curves',
]
