"""From image-level labels to a trained segmentation network: runs the stages of a pipeline, one after the other.

    python tools/run_pipeline.py configs/pipelines/voc12.py            all of it; again to go on after a stop
    python tools/run_pipeline.py configs/pipelines/voc12.py --list     the commands, which can also be run by hand
    ... --only score_is_cam      this stage, even if it is done; a tool then writes the files that are missing
    ... --from train_irn --until score_irn      ... --skip score_is_cam
    ... --redo train_irn         begin this stage, and all that depends on it, anew
    ... --cfg-options 'irn_options=[--cfg-options,train_cfg.max_epochs=10]'    change a variable of the pipeline

Figures and times are in WORK_DIR/summary.json and summary.md.
"""

import argparse
import logging
import os
import sys

from mmengine.config import Config, DictAction

from sipe_mmseg.engine.pipeline import Pipeline, read_stages


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the pipeline')
    parser.add_argument('--work-dir', help='folder of all results')
    parser.add_argument('--list', action='store_true', help='print the stages and their commands, run nothing')
    parser.add_argument('--only', nargs='+', metavar='STAGE', help='run these stages, done or not')
    parser.add_argument('--from', dest='first', metavar='STAGE', help='begin with this stage')
    parser.add_argument('--until', dest='last', metavar='STAGE', help='end with this stage')
    parser.add_argument('--skip', nargs='+', default=[], metavar='STAGE', help='leave these stages out')
    parser.add_argument('--redo', nargs='+', default=[], metavar='STAGE', help='begin these stages anew')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='changes to the config'
    )
    return parser.parse_args()


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


def main() -> int:
    args = parse_args()
    logging.disable(logging.INFO)  # MMEngine would name every environment variable of every config
    pipeline = None
    try:
        config = Config.fromfile(args.config)
        config.merge_from_dict(args.cfg_options)
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
    except (OSError, RuntimeError, ValueError) as error:
        print(f'\n{error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f'\nstopped; {pipeline.way_on if pipeline else "nothing was run"}', file=sys.stderr)
        return 130
    finally:
        logging.disable(logging.NOTSET)
    return 0


if __name__ == '__main__':
    sys.exit(main())
