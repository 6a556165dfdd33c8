"""Mixtures of judges as commands are given them: one judge, or a JSON file of several with weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from electra_jax.config.schema import Config
from electra_jax.errors import UserError
from electra_jax.files.json_files import read_object, write_json
from electra_jax.files.local_paths import local_path
from electra_jax.inference.judges import JUDGES, check_judge
from electra_jax.inference.load import load
from electra_jax.inference.model import Model
from electra_jax.inference.reranking import Reranker, check_judges
from electra_jax.inference.trained import trained_tasks

_REMEDY = "mend it, or have electra_jax.rerank write it anew"


@dataclass(frozen=True)
class JudgeSetting:
    """A judge of a mixture.

    Attributes:
        weight: what its score is multiplied by.
        model: directory of its model; None: the model that writes, if it asks one.
    """

    weight: float = 1.0
    model: str | None = None


def parse_judge(text: str) -> tuple[str, JudgeSetting]:
    """Return the judge that ``NAME`` or ``NAME=DIR`` stands for.

    Raises:
        UserError: there is no such judge, or it asks no model and one is named.
    """
    name, equals, folder = text.partition("=")
    check_judges([name], {name: 1.0})
    if equals and JUDGES[name].needs is None:
        raise UserError(f"the judge {name} asks no model: leave ={folder} out")
    if equals and not folder:
        raise UserError(f"{text} names no directory: write {name}=DIR, or {name} for the model that writes")
    return name, JudgeSetting(model=folder or None)


def read_judges(given: str) -> dict[str, JudgeSetting]:
    """Return the judges that ``given`` stands for: a JSON file, or what `parse_judge` reads.

    Raises:
        UserError: it is neither; the file cannot be read or names something else.
    """
    if given.partition("=")[0] in JUDGES:
        return dict([parse_judge(given)])
    path = local_path(given, "the file of judges")
    if not path.exists():
        raise UserError(
            f"{given} is neither a file that electra_jax.rerank wrote nor a judge: there are "
            f"{', '.join(JUDGES)}, each with its model as in rtd=DIR"
        )
    found = read_object(path, _REMEDY)
    if unknown := sorted(found.keys() - {"judges", "tuned"}):
        raise UserError(f"{path} has {unknown[0]!r}, and there are judges and tuned: {_REMEDY}")
    judges = found.get("judges")
    if not isinstance(judges, dict):
        raise UserError(f"{path} has no object judges, each with its weight and model: {_REMEDY}")
    settings = {name: _setting(value, name, path) for name, value in judges.items()}
    try:
        check_judges(settings, {name: setting.weight for name, setting in settings.items()})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return settings


def _setting(value: Any, name: str, path: Path) -> JudgeSetting:
    if not isinstance(value, dict) or value.keys() - {"weight", "model"}:
        raise UserError(f"{path}: the judge {name} must have weight and model, and no more: {_REMEDY}")
    model = value.get("model")
    if model is not None and not isinstance(model, str):
        raise UserError(f"{path}: the model of the judge {name} must be a directory: {_REMEDY}")
    return JudgeSetting(value.get("weight", 1.0), model)


def write_judges(path: Path, judges: Mapping[str, JudgeSetting], tuned: Mapping[str, Any]) -> None:
    """Write a file that `read_judges` reads.

    Args:
        path: of the file.
        judges: by name.
        tuned: how the weights were found, for people.

    Raises:
        OSError: it cannot be written.
    """
    each = {name: {"weight": one.weight, "model": one.model} for name, one in judges.items()}
    write_json(path, {"judges": each, "tuned": dict(tuned)})


def check_models(judges: Mapping[str, JudgeSetting], writer: Config) -> None:
    """Refuse models that cannot be the judges they are named for, before any is read.

    Args:
        judges: by name.
        writer: configuration of the model that writes.

    Raises:
        UserError: nothing to read, or a model that the judge cannot ask.
    """
    for name, judge in judges.items():
        if judge.model is None:
            check_judge(name, writer, "the model that writes")
        elif (known := trained_tasks(judge.model)) is not None:
            check_judge(name, known[0], judge.model)


def judges_of_task(given: str, config: Config, name: str) -> dict[str, JudgeSetting]:
    """Return the judges that ``given`` stands for, as `read_judges`, for candidates of a task.

    Args:
        given: a file or a judge.
        config: of the model with the task.
        name: of the task.

    Raises:
        UserError: see `read_judges` and `check_models`; or the task does not write.
    """
    if (kind := config.finetune.tasks[name].kind) != "seq2seq":
        raise UserError(
            f"--rerank puts texts for a source in order, as a task of kind seq2seq writes them, and {name} is of kind "
            f"{kind}: leave it out"
        )
    judges = read_judges(given)
    check_models(judges, config)
    return judges


def load_reranker(
    judges: Mapping[str, JudgeSetting], writer: Model, notes: list[str] | None = None
) -> Reranker:
    """Return a mixture of judges with its models, each read once.

    Args:
        judges: by name.
        writer: the model that writes.
        notes: as those of `load`.

    Raises:
        UserError: a model that cannot be read, or that a judge cannot ask.
    """
    models: dict[str, Model] = {}
    for judge in judges.values():
        if judge.model is not None and judge.model not in models:
            models[judge.model] = load(judge.model, notes=notes)
    asked = {
        name: None if JUDGES[name].needs is None else models[judge.model] if judge.model else writer
        for name, judge in judges.items()
    }
    for name, model in asked.items():
        if model is not None:
            check_judge(name, model.config, judges[name].model or "the model that writes")
    return Reranker(asked, {name: judge.weight for name, judge in judges.items()})
