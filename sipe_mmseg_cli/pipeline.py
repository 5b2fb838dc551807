"""From image-level labels to a trained segmentation network: runs the stages of a pipeline, one after the other.

    %(prog)s voc12               all of it; again to go on after a stop
    %(prog)s voc12 --list        the commands, which can also be run by hand
    ... --only score_is_cam      this stage, even if it is done; a tool then writes the files that are missing
    ... --from train_irn --until score_irn      ... --skip score_is_cam
    ... --redo train_irn         begin this stage, and all that depends on it, anew
    ... --cfg-options 'irn_options=[--cfg-options,train_cfg.max_epochs=10]'    change a variable of the pipeline

The config is a file, or voc12, voc12-mobilenet, coco14, custom or shapes. Figures and times are in summary.json and
summary.md in the work directory.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from .arguments import add_config_changes, command_parser, load_config, parse_changes
from .stops import Stopped


def parse_args(words: Sequence[str], prog: str) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser(prog, __doc__)
    parser.add_argument('config', help='config of the pipeline: a file or the name of a shipped one')
    parser.add_argument('--work-dir', help='folder of all results')
    parser.add_argument('--list', action='store_true', help='print the stages and their commands, run nothing')
    parser.add_argument('--only', nargs='+', metavar='STAGE', help='run these stages, done or not')
    parser.add_argument('--from', dest='first', metavar='STAGE', help='begin with this stage')
    parser.add_argument('--until', dest='last', metavar='STAGE', help='end with this stage')
    parser.add_argument('--skip', nargs='+', default=[], metavar='STAGE', help='leave these stages out')
    parser.add_argument('--redo', nargs='+', default=[], metavar='STAGE', help='begin these stages anew')
    add_config_changes(parser)
    return parser.parse_args(words)


def choose(names: list[str], args: argparse.Namespace) -> list[str]:
    """Names of the stages that the command line asks for.

    Raises:
        ValueError: If it names one that is not there.
    """
    for name in [*(args.only or ()), *args.skip, *args.redo, *filter(None, (args.first, args.last))]:
        if name not in names:
            raise ValueError(f'there is no stage {name!r}; there are {", ".join(names)}')
    first = names.index(args.first) if args.first else 0
    last = names.index(args.last) if args.last else len(names) - 1
    return [name for name in names[first : last + 1] if name not in args.skip and name in (args.only or names)]


def main(words: Sequence[str], prog: str) -> int:
    """Run the stages, or list them."""
    args = parse_args(words, prog)
    from sipe_mmseg.engine.quiet_logging import only_warnings

    with only_warnings():  # MMEngine would name every environment variable of every config
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from sipe_mmseg.engine.config_lookup import find_config, shipped_names
    from sipe_mmseg.engine.pipeline import Pipeline, StageStopped, read_stages

    pipeline = None
    try:
        config = load_config(find_config(args.config, pipelines=True))
        if not config.get('stages'):
            known = ', '.join(name for name, path in shipped_names().items() if path.parent.name == 'pipelines')
            raise ValueError(f'{args.config}: is no pipeline, it has no stages; shipped ones are {known}')
        config.merge_from_dict(parse_changes(args.cfg_options))
        if args.work_dir:
            config.work_dir = args.work_dir
        if config.get('work_dir'):
            config.work_dir = os.path.normpath(config.work_dir)  # out/ is out
        if not config.get('work_dir'):
            raise ValueError(f'{args.config}: has no work_dir, the folder of all results; name one with --work-dir')
        pipeline = Pipeline(read_stages(config), config.work_dir, say=lambda text: print(text, flush=True))
        chosen = choose([stage.name for stage in pipeline.stages], args)
        if args.list:
            for stage in pipeline.stages:
                state = pipeline.state(stage) if stage.name in chosen else 'left out'
                print(f'{stage.name} ({state})\n$ {stage.shell()}\n')
            return 0
        pipeline.run(chosen, args.redo, again=args.only or ())
        print(f'\n{pipeline.table()}\n\n{pipeline.work_dir}/summary.json')
    except BrokenPipeError:  # of `... --list | head`
        raise
    except StageStopped as stop:
        raise Stopped(str(stop), stop.number) from stop
    except (OSError, RuntimeError, ValueError) as error:
        print(f'\n{error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        raise Stopped(f'stopped; {pipeline.way_on if pipeline else "nothing was run"}') from stop
    return 0
