"""Heads taken over from a fine-tuned model: classes are matched by name, and what does not fit starts anew.

The outputs of a head are numbered, and the meaning of the numbers is in the settings of its task. If heads were taken
over number by number, one whose classes are in another order would be wrong about all of them.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import jax.numpy as jnp
from jax import Array

from electra_jax.config.ranking_task import RankingConfig
from electra_jax.config.task import TaskConfig
from electra_jax.config.yaml_format import show
from electra_jax.errors import listed
from electra_jax.tasks.settings import FILE, TaskSettings, read_settings
from electra_jax.training.initialisation import Adaptation, InitialCheckpoint

Shapes = Mapping[str, tuple[int, ...]]

# The parameter of a ranker's head that scores are multiplied by.
_SCALE = "log_scale"


@dataclass(frozen=True)
class HeadTransfer:
    """Decides which heads of a checkpoint the run's tasks take over; implements `initialisation.Adapt`."""

    tasks: Mapping[str, TaskSettings]

    def __call__(
        self,
        origin: InitialCheckpoint,
        saved: Shapes,
        wanted: Shapes,
        sections: Mapping[str, TaskConfig] = MappingProxyType({}),
    ) -> Adaptation:
        """Return which heads of a checkpoint are taken over, and what is changed in them.

        Args:
            origin: the checkpoint.
            saved: shapes of its parameters, by name.
            wanted: shapes of the run's parameters.
            sections: of the run's tasks, by name; one that is missing is taken to be as the checkpoint's.

        Raises:
            UserError: its tasks.json is not what was written.
        """
        there = {name.split("/")[1] for name in saved if name.startswith("heads/")}
        known = read_settings(origin.run) if there and (origin.run / FILE).is_file() else {}
        reinitialized: set[str] = set()
        source: dict[str, str] = {}
        changed: dict[str, Callable[[Array], Array]] = {}
        notes: list[str] = []
        kinds = {name: task.kind for name, task in self.tasks.items()}
        for name, task in self.tasks.items():
            scope, named = f"heads/{name}/", name_there(name, kinds, there)
            if named is None:
                if similar := [other for other in known if known[other].kind == task.kind]:
                    notes.append(
                        f"the head of {name} starts anew: {origin.path} has heads of other tasks, {listed(similar)} "
                        "among them (a head is taken over by the task of its name)"
                    )
                continue
            ours, theirs = _in_scope(scope, wanted), _in_scope(f"heads/{named}/", saved)
            fit = _fit(task, known.get(named), ours, theirs)
            if fit.why_not is not None:
                notes.append(f"the head of {name} starts anew: in {origin.path} {fit.why_not}")
                reinitialized |= {scope + part for part in ours}
                continue
            changed |= {scope + part: change for part, change in fit.changes.items()}
            if named != name:
                source |= {scope + part: f"heads/{named}/{part}" for part in ours}
            how = fit.how
            why = why_scale_is_anew(sections.get(name), origin.config.finetune.tasks.get(named))
            if why is not None and _SCALE in ours:
                reinitialized.add(scope + _SCALE)
                how += f", but its scale starts anew: {why}"
            notes.append(f"the head of {name} is taken over{how}")
        return Adaptation(frozenset(reinitialized), source, changed, tuple(notes))


def name_there(name: str, kinds: Mapping[str, str], there: Collection[str]) -> str | None:
    """Return the name that the head of a task has in a checkpoint; None if it has none.

    A converted head is named after its kind; it belongs to the run's task of that kind if there is only one.

    Args:
        name: of the task.
        kinds: of the run's tasks, by name.
        there: names of the checkpoint's heads.
    """
    if name in there:
        return name
    kind = kinds[name]
    alone = sum(other == kind for other in kinds.values()) == 1
    return kind if alone and kind in there and kind not in kinds else None


def why_scale_is_anew(ours: TaskConfig | None, theirs: TaskConfig | None) -> str | None:
    """Return why what scores are multiplied by is not taken over with the head of a ranker; None: it is.

    A scale that was learned for cosines is none for products, and one that the run's section names is meant to be it.

    Args:
        ours: section of the run's task.
        theirs: of the one in the checkpoint.
    """
    if not isinstance(ours, RankingConfig) or not isinstance(theirs, RankingConfig):
        return None
    if ours.similarity != theirs.similarity:
        return f"similarity is {ours.similarity}, and was {theirs.similarity}"
    for key in ("temperature", "scale"):
        wanted, there = getattr(ours, key), getattr(theirs, key)
        if wanted is not None and wanted != there:
            return f"{key} is {show(wanted)}, and was {show(there)}"
    return None


def _in_scope(scope: str, shapes: Shapes) -> Shapes:
    return {name.removeprefix(scope): shape for name, shape in shapes.items() if name.startswith(scope)}


@dataclass(frozen=True)
class _Fit:
    """Whether a head can be taken over.

    Attributes:
        why_not: the reason if it cannot.
        changes: by parameter of the head, the function applied to it.
        how: the end of the sentence that says it was taken over.
    """

    why_not: str | None = None
    changes: Mapping[str, Callable[[Array], Array]] = field(default_factory=dict)
    how: str = ""


def _fit(task: TaskSettings, theirs: TaskSettings | None, ours: Shapes, saved: Shapes) -> _Fit:
    if theirs is None:
        return _Fit(f"it is not written what its outputs mean (there is no {FILE}, or not this task in it)")
    if theirs.kind != task.kind:
        return _Fit(f"it is of kind {theirs.kind}, not {task.kind}")
    if theirs.multi_label != task.multi_label:
        says = "any number of its classes" if theirs.multi_label else "one of its classes"
        return _Fit(f"it gives {says}, and multi_label is {str(task.multi_label).lower()}")
    if set(theirs.classes) != set(task.classes):
        return _Fit(f"its classes are others ({_set_differences(theirs.classes, task.classes)})")
    if dict(ours) != dict(saved):
        return _Fit(
            "it has another shape (finetune.head_style, joint and answerable for questions, encoder and codes of a "
            f"ranker, or decoder, differ; {_shape_differences(ours, saved)})"
        )
    if task.kind == "regression":
        return _rescaled(task, theirs)
    if theirs.classes == task.classes:
        return _Fit(how=f" with its {len(task.classes)} classes" if task.classes else "")
    order = jnp.array([theirs.classes.index(name) for name in task.classes])
    reordered = {part: _reorder(order) for part in ours if part.startswith("prediction/")}
    return _Fit(changes=reordered, how=", its classes put in this run's order by their names")


def _reorder(order: Array) -> Callable[[Array], Array]:
    return lambda array: array[..., order]


def _rescaled(task: TaskSettings, theirs: TaskSettings) -> _Fit:
    """Return the changes for a regression head whose labels have another range here.

    The head predicts where a number lies between the least and the greatest training label; afterwards it predicts the
    same numbers within the new range.
    """
    if (theirs.low, theirs.high) == (task.low, task.high):
        return _Fit()
    old, new = ((one.high - one.low) or 1.0 for one in (theirs, task))
    factor, shift = old / new, (theirs.low - task.low) / new
    return _Fit(
        changes={
            "prediction/kernel": lambda array: array * factor,
            "prediction/bias": lambda array: array * factor + shift,
        },
        how=f", from numbers of {theirs.low:g} to {theirs.high:g} to those of {task.low:g} to {task.high:g}",
    )


def _set_differences(theirs: Collection[str], ours: Collection[str]) -> str:
    only = (
        ("only there", sorted(set(theirs) - set(ours))),
        ("only here", sorted(set(ours) - set(theirs))),
    )
    return "; ".join(f"{where}: {listed(names)}" for where, names in only if names)


def _shape_differences(ours: Shapes, saved: Shapes) -> str:
    parts = [part for part in sorted({*ours, *saved}) if ours.get(part) != saved.get(part)]
    return listed([f"{part} {saved.get(part, 'absent')}, not {ours.get(part, 'there')}" for part in parts])
