"""From a run and a section of a task to the configuration of a fine-tuning."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.loading import load_config
from electra_jax.config.schema import Config
from electra_jax.tasks.finetuning_data import FineTuningData, read_finetuning_data
from electra_jax.tasks.starting_point import starting_point

_RECIPE = "finetune/recipe"  # the paper's
_UP_TO_FFFF = re.compile(r"[\x7f-\uffff]")


def task_config(run: Path, name: str, section: Mapping[str, Any], settings: Sequence[str]) -> Config:
    """Return the configuration of a fine-tuning of ``run`` on one task with the paper's recipe.

    Args:
        run: work directory of a pre-trained model.
        name: of the task.
        section: as ``finetune.tasks`` has it.
        settings: overrides, which win.

    Raises:
        UserError: they are not valid.
    """
    given = [f"init_from={_in_yaml(str(run))}", f"finetune.tasks.{name}={_in_yaml(section)}"]
    return load_config(_RECIPE, [*given, *settings])


def _in_yaml(value: Any) -> str:
    """Return a value as JSON that YAML reads as the same value.

    JSON escapes a character above U+FFFF, such as an emoji, as two halves, which YAML keeps apart: it stays as it is.
    The others are escaped, as some of them (a line separator) are no part of a text to YAML.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _UP_TO_FFFF.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def read_task(run: Path, name: str, section: Mapping[str, Any], settings: Sequence[str]) -> FineTuningData:
    """Return a task and its examples as a fine-tuning of ``run`` reads them; no device is used.

    Args:
        run: work directory of a pre-trained model.
        name: of the task.
        section: as ``finetune.tasks`` has it.
        settings: overrides, which win.

    Raises:
        UserError: settings that are not valid, or examples that cannot be used.
    """
    config, tokenizer, _ = starting_point(task_config(run, name, section, settings))
    return read_finetuning_data(config, tokenizer, [])
