"""A trained model in Python: ``load(path)``, then the methods of `Model`."""

import warnings
from collections.abc import Mapping
from pathlib import Path

from electra_jax.config.schema import Config
from electra_jax.convert.flat_parameters import unflatten
from electra_jax.convert.format_detection import detect_format
from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.tensorflow_format import read_tensorflow
from electra_jax.errors import UserError
from electra_jax.files.local_paths import local_path
from electra_jax.inference.model import Model
from electra_jax.inference.trained import task_settings
from electra_jax.model.disentangled import materialised
from electra_jax.tasks.build import build_task
from electra_jax.tasks.protocol import Task
from electra_jax.tasks.settings import TaskSettings, check_heads
from electra_jax.tokenizers import Tokenizer, load_tokenizer
from electra_jax.training.checkpoints import find_checkpoint, read_params
from electra_jax.training.seed_selection import run_directory
from electra_jax.training.workdir import WorkDir


def load(path: str | Path, *, notes: list[str] | None = None, step: int | None = None) -> Model:
    """Load the model in ``path``: a work directory (fine-tuned, pre-trained or converted) or a foreign checkpoint.

    Of a directory with several seeds, the one with the best dev metric is loaded.

    Args:
        path: of the model.
        notes: if given, what was assumed about a foreign checkpoint, or is done differently here, is appended;
            otherwise these are warnings.
        step: of the checkpoint in a work directory; None: the newest.

    Raises:
        UserError: nothing that can be read, no checkpoint of that step, or a checkpoint without a vocabulary.
    """
    path = local_path(path, "the model")
    detected = detect_format(path)
    if detected.format == "electra_jax":
        return _load_native(path, step)
    if step is not None:
        raise UserError(f"{path} is no work directory: it has no checkpoint of step {step}, but one model")
    foreign = detected.format == "huggingface"
    weights = read_huggingface(detected.paths) if foreign else read_tensorflow(detected.paths[0])
    if weights.tokenizer is None:
        raise UserError(f"{path} has no vocabulary, so no text can be read: put its vocab.txt beside it")
    if notes is not None:
        notes += weights.notes
    for note in weights.notes if notes is None else ():
        warnings.warn(note, stacklevel=3)  # points at the caller of electra_jax.load
    params = unflatten(weights.parameters, weights.config.model.vocab_multiple)
    return Model(
        weights.config,
        weights.tokenizer,
        params,
        _build_tasks(path, weights.config, weights.tokenizer, weights.tasks),
        str(path),
    )


def _load_native(path: Path, step: int | None) -> Model:
    step, directory = find_checkpoint(path, step)
    workdir = WorkDir(run_directory(directory))
    config = workdir.load_config()
    if not workdir.tokenizer.is_dir():
        raise UserError(f"{workdir.root} has no vocabulary: convert it again with --vocab FILE")
    tokenizer = load_tokenizer(workdir.tokenizer)
    settings = task_settings(workdir)
    tasks = _build_tasks(workdir.root, config, tokenizer, settings)
    config, params = materialised(config, read_params(directory, step))
    if settings:
        check_heads(workdir.root, settings, params.get("heads", {}), config.finetune.tasks)
    return Model(config, tokenizer, params, tasks, str(path))


def _build_tasks(
    where: Path, config: Config, tokenizer: Tokenizer, settings: Mapping[str, TaskSettings]
) -> dict[str, Task]:
    tasks = {name: build_task(name, settings[name], config, tokenizer) for name in settings}
    for name, task in tasks.items():
        if settings[name].classes != task.labels:
            raise UserError(
                f"{where}: the classes of {name} are not those it was trained with: use the version of electra_jax "
                "that trained it"
            )
    return tasks
