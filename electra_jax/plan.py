"""Before renting: ``python -m electra_jax.plan --config FILE [--topology v5e:4x4] [key.path=value ...]``."""

import json
import os
import sys
from collections.abc import Sequence

from electra_jax import cli
from electra_jax.errors import UserError
from electra_jax.planning.environment import COMPILE_ONLY


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``electra_jax.plan``; return the exit status."""
    parser = cli.parser(
        "electra_jax.plan",
        "Compiles the training step of a configuration and says, before anything is rented or prepared, whether it "
        "fits and what it will cost: bytes a device by kind, FLOPs, bytes moved, what devices send to each other, "
        "and between which bounds the time of a step and of the whole run lies.\n\n"
        "With --topology it compiles for a slice of TPUs that is not there (pip install 'electra_jax[plan]'), which "
        "takes minutes for large models (less with compute.scan_layers=true); without it, for the devices of this "
        "machine. Nothing is trained and no data is read. Exit status 2 if it does not fit.",
        epilog="examples:\n"
        "  python -m electra_jax.plan --config small --topology v5e:2x4 compute.dtype=bfloat16\n"
        "  python -m electra_jax.plan --config base --topology v4:2x2x4 --sweep --limit 6\n"
        "  python -m electra_jax.plan --config base --topology v5e:16x16 --slices 2\n"
        "  python -m electra_jax.plan --config tiny --json\n",
        setting="compute.dtype=bfloat16",
    )
    parser.add_argument(
        "--topology", metavar="CHIP:AxB", help="TPU slice: v5e:4x4, v6e:8x8, v4:2x2x4, v5p:4x4x4"
    )
    parser.add_argument(
        "--slices",
        type=int,
        default=1,
        metavar="N",
        help="slices of that shape, joined by the data-centre network (1)",
    )
    parser.add_argument("--sweep", action="store_true", help="try meshes and microbatches, and rank them")
    parser.add_argument("--limit", type=int, default=8, metavar="N", help="most compilations of --sweep (8)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_args(argv)
    config = cli.load_config(args)
    if args.limit < 1:
        raise UserError(f"--limit {args.limit} must be at least 1")
    if args.slices != 1 and args.topology is None:
        raise UserError(f"--slices {args.slices} needs --topology, the shape of each slice")
    if args.topology is not None:
        os.environ.update(COMPILE_ONLY)  # before jax is imported, which the next lines do

    from electra_jax.planning.compiling import check_plannable
    from electra_jax.planning.machine import local_machine, topology_machine
    from electra_jax.planning.report import format_plan, make_plan
    from electra_jax.planning.sweep import format_sweep, sweep

    check_plannable(config.kind_of_run)
    if (largest := config.train.at_largest_batch()) != config.train:
        print(
            f"planned as if all batches had the {largest.batch_size} rows of the largest: hours are at most",
            file=sys.stderr,
        )
        config = config.model_copy(update={"train": largest})
    machine = topology_machine(args.topology, args.slices) if args.topology is not None else local_machine()
    if args.sweep:
        swept = sweep(
            config,
            len(machine.devices),
            lambda candidate: make_plan(candidate, machine),
            limit=args.limit,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )
        if args.json:
            tried = [{"choice": str(choice), **plan.as_json()} for choice, plan in swept.plans]
            skipped = [{"choice": str(choice), "reason": reason} for choice, reason in swept.skipped]
            print(json.dumps({"plans": tried, "skipped": skipped}, indent=2))
        else:
            print(format_sweep(swept))
        if not any(plan.fits for _, plan in swept.plans):
            raise UserError(
                f"nothing that was tried fits on {machine.name}: set compute.remat=full, use a larger slice, or raise "
                "--limit"
            )
        return 0

    plan = make_plan(config, machine)
    print(json.dumps(plan.as_json(), indent=2) if args.json else format_plan(plan))
    if not plan.fits:
        raise UserError(
            f"it does not fit on {machine.name}: use more train.accumulation_steps, compute.remat=full, mesh.fsdp, or "
            "a larger slice (--sweep tries meshes and microbatches)"
        )
    return 0


if __name__ == "__main__":
    cli.run(main)
