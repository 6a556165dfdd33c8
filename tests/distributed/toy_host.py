"""One host of a run of the real loop over the toy objective: ``toy_host.py WORKDIR [key.path=value ...]``.

What a test wants from it goes through settings of its own: ``slow=SECONDS`` a step, ``bad=ROW`` spoils a row,
``damaged_on=HOST`` cannot read the newest checkpoint, ``dies_saving=HOST`` dies instead of saving, ``mixed=yes`` has
the devices of all hosts lie in turns on the mesh, as they may on a TPU's torus.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toy import BAD_GENERATOR, ToyRun, toy_config, toy_rows

from electra_jax import cli
from electra_jax.config.loading import with_overrides
from electra_jax.distributed.agreement import print_on_host_0
from electra_jax.distributed.common_settings import check_common_settings, common_settings
from electra_jax.distributed.joining import joined
from electra_jax.errors import UserError
from electra_jax.partitioning import mesh
from electra_jax.training import checkpoints

OWN = ("slow=", "bad=", "damaged_on=", "dies_saving=", "mixed=")


def main(_):
    folder, *arguments = sys.argv[1:]
    own = dict(argument.split("=") for argument in arguments if argument.startswith(OWN))
    config = with_overrides(toy_config().model_dump(), [a for a in arguments if not a.startswith(OWN)], "toy")
    with joined(config.hosts):
        config = common_settings(config)
        check_common_settings(config)
        rows = toy_rows(50)
        if "bad" in own:
            rows[int(own["bad"])] = BAD_GENERATOR

        def wrap(step):
            def slowed(*args):
                time.sleep(float(own.get("slow", 0)))
                return step(*args)

            return slowed

        with pytest.MonkeyPatch.context() as patch:
            if "damaged_on" in own:
                _cannot_read(patch, int(own["damaged_on"]))
            if "dies_saving" in own:
                _dies_saving(patch, int(own["dies_saving"]))
            if "mixed" in own:
                patch.setattr(mesh, "_one_slice", _in_turns)
            run = ToyRun(patch, Path(folder), config, train=rows, devices=None, wrap=wrap)
            state, _, stopped = run()
        for note in run.notes:
            print_on_host_0(note)
        kernel = np.asarray(state.params["discriminator_head"]["dense"]["kernel"].addressable_data(0))
        print("step", int(state.step), "stopped", stopped, "kernel", kernel.astype(np.float64).sum())
    return 0


def _in_turns(shape, devices):
    """The first device of each host, then the second of each, and so on."""
    hosts = {device.process_index: [] for device in devices}
    for device in devices:
        hosts[device.process_index].append(device)
    return np.array([list(each) for each in zip(*hosts.values(), strict=True)], object).reshape(shape)


def _cannot_read(patch, host):
    import jax

    original = checkpoints.restore_state

    def restore(directory, step, abstract):
        if jax.process_index() == host and step == checkpoints.saved_steps(directory)[-1]:
            raise UserError(f"checkpoint {step} cannot be read here")
        return original(directory, step, abstract)

    patch.setattr(checkpoints, "restore_state", restore)


def _dies_saving(patch, host):
    import jax

    original = checkpoints.CheckpointWriter.save

    def save(writer, step, state):
        if jax.process_index() == host:
            os.kill(os.getpid(), signal.SIGKILL)
        original(writer, step, state)

    patch.setattr(checkpoints.CheckpointWriter, "save", save)


if __name__ == "__main__":
    cli.run(main)
