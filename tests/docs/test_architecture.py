"""docs/architecture.md is true to the code: what it names is there, and what is there is named."""

import re
from pathlib import Path

import sipe_mmseg.apis
import sipe_mmseg.datasets
import sipe_mmseg.engine
import sipe_mmseg.evaluation
import sipe_mmseg.models
import sipe_mmseg.visualization
from sipe_mmseg.models import irn_segmentor, prototypes, sipe_head

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / 'docs/architecture.md').read_text()
CODE = re.findall(r'`([^`\n]+)`', TEXT)


def test_files_and_folders_exist() -> None:
    places = [REPOSITORY, *(path for path in (REPOSITORY / 'sipe_mmseg').iterdir() if path.is_dir())]
    named = [word for word in CODE if re.fullmatch(r'[\w./-]+(?:/|\.(?:py|css|js))', word)]
    assert len(named) > 60
    missing = [word for word in named if not any((place / word).exists() for place in places)]
    assert missing == []
    assert [word for word in named if word.endswith('/') and not (REPOSITORY / word).is_dir()] == []


def test_every_folder_is_told() -> None:
    folders = [path for path in REPOSITORY.glob('sipe_mmseg/*/') if (path / '__init__.py').exists()]
    folders += [path for path in REPOSITORY.glob('configs/*/') if path.is_dir()]
    assert {f'{path.relative_to(REPOSITORY)}/' for path in folders} - set(CODE) == set()


def test_classes_and_functions_exist() -> None:
    modules = (
        *(sipe_mmseg.datasets, sipe_mmseg.engine, sipe_mmseg.evaluation, sipe_mmseg.models, sipe_mmseg.visualization),
        *(prototypes, sipe_head, irn_segmentor, sipe_mmseg.apis),
    )
    names = [word for word in CODE if re.fullmatch(r'[A-Z]\w*[a-z]\w*(?:\.\w+)?', word) or word in FUNCTIONS]
    assert {'SIPEHead.take', 'SIPESegmentor.pack', 'IRNTestSettings', *FUNCTIONS} <= set(names)
    for name in names:
        first, _, rest = name.partition('.')
        found = [getattr(module, first) for module in modules if hasattr(module, first)]
        assert found and (not rest or hasattr(found[0], rest)), name


FUNCTIONS = ('structure_aware_seeds', 'image_specific_prototypes', 'class_activation_maps', 'normalize_by_max')


def test_layers_import_one_way() -> None:
    """What the first table says: the mathematics know nothing of MMEngine, and the package nothing of the tools."""
    pure = [REPOSITORY / 'sipe_mmseg/models/prototypes.py', REPOSITORY / 'sipe_mmseg/visualization/overlays.py']
    for path in [*pure, *(REPOSITORY / 'sipe_mmseg/refinement').glob('*.py')]:
        assert not re.search(r'^\s*(?:from|import) (?:mm|\.\.)', path.read_text(), re.MULTILINE), path
    for path in (REPOSITORY / 'sipe_mmseg').rglob('*.py'):
        assert not re.search(r'^\s*(?:from|import) tools\b', path.read_text(), re.MULTILINE), path
