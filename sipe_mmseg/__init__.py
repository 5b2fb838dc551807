"""SIPE for MMSegmentation: localisation maps from image-level labels. Importing this package registers everything."""

from . import compat

__version__ = '0.1.0'

compat.apply()

# MMSegmentation, which the subpackages import, can only be imported once the repairs are made.
from . import apis, datasets, engine, evaluation, models, visualization  # noqa: E402

__all__ = ['__version__', 'apis', 'compat', 'datasets', 'engine', 'evaluation', 'models', 'visualization']
