"""Trains as ``python -m electra_jax.train`` does, and says by its exit status whether to run it again.

    python launch/train.py --config FILE --workdir DIR [key.path=value ...]

Exit status 0: trained to the last step. 75: stopped before it, or another host was lost; what was saved is intact and
the same command goes on. 2: a mistake in the settings, where trying again is of no use. All launchers run this file.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from electra_jax import cli, train
from electra_jax.errors import HostLost
from electra_jax.training.workdir import WorkDir

TRY_AGAIN = HostLost.status


def main(argv: Sequence[str] | None = None) -> int:
    """Trains; see the top of this file for the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    status = train.main(argv)
    return status or (0 if finished(WorkDir(_workdir(argv))) else TRY_AGAIN)


def finished(workdir: WorkDir) -> bool:
    """Whether the run in ``workdir`` was saved at its last step; any host can tell, as all see the same files.

    Raises:
        UserError: it is not a work directory.
    """
    config = workdir.load_config()
    if config.finetuning:
        seeds = range(config.seed, config.seed + config.finetune.seeds)
        of_seeds = [workdir.root / f"seed-{seed}" / "result.json" for seed in seeds]
        # The table is written after the last seed; more seeds may have been asked for since.
        return all(path.is_file() for path in (*of_seeds, workdir.root / "results.json"))
    saved = [int(path.name) for path in workdir.checkpoints.glob("*") if path.name.isdigit()]
    return max(saved, default=0) >= config.train.total_steps


def _workdir(argv: Sequence[str]) -> Path:
    parser = cli.bare_parser("launch/train.py", "")
    parser.add_argument("--workdir", type=Path, required=True)
    return Path(parser.parse_known_args(argv)[0].workdir)


if __name__ == "__main__":
    cli.run(main, stopped_status=TRY_AGAIN)
