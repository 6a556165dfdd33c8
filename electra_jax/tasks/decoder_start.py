"""What a decoder starts from: the encoder's layers, or the pre-trained generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax.numpy as jnp

from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.config.task import TaskConfig
from electra_jax.tasks.head_transfer import HeadTransfer, Shapes
from electra_jax.training.initialisation import Adaptation, InitialCheckpoint

# Where the layers of a start are in a checkpoint.
_STACKS = {"encoder": "encoder", "generator": "generator_encoder"}


@dataclass(frozen=True)
class FineTuningStart:
    """Heads taken over from a fine-tuned model, and decoders from a pre-trained one; implements `initialisation.Adapt`.

    Attributes:
        heads: what is taken over by the task of the same name.
        tasks: sections of the tasks, by name.
    """

    heads: HeadTransfer
    tasks: Mapping[str, TaskConfig]

    def __call__(self, origin: InitialCheckpoint, saved: Shapes, wanted: Shapes) -> Adaptation:
        """Return what is taken from a checkpoint, and from where in it.

        Raises:
            UserError: its tasks.json is not what was written.
        """
        adaptation = self.heads(origin, saved, wanted, self.tasks)
        for name, task in self.tasks.items():
            scope = f"heads/{name}/"
            if not isinstance(task, Seq2SeqConfig) or task.decoder.init == "random":
                continue
            if _is_taken(scope, adaptation, saved, wanted):
                continue
            sources = decoder_sources(scope, _STACKS[task.decoder.init], saved, wanted)
            # Of its own, since the encoder has the same arrays.
            copies = dict.fromkeys(sources, jnp.copy)
            note = _note(name, task, sources)
            adaptation = replace(
                adaptation,
                reinitialized=adaptation.reinitialized - sources.keys(),
                source_names={**adaptation.source_names, **sources},
                transforms={**adaptation.transforms, **copies},
                notes=(*adaptation.notes, note),
            )
        return adaptation


def _is_taken(scope: str, adaptation: Adaptation, saved: Shapes, wanted: Shapes) -> bool:
    """Return whether a head is taken over from a fine-tuned model, under its name or another one."""
    names = [name for name in wanted if name.startswith(scope)]
    return any(
        adaptation.source_names.get(name, name) in saved and name not in adaptation.reinitialized
        for name in names
    )


def decoder_sources(scope: str, stack: str, saved: Shapes, wanted: Shapes) -> dict[str, str]:
    """Return by name of a decoder's parameter the one in a checkpoint that it starts from.

    Args:
        scope: of the head that is the decoder.
        stack: of the layers in the checkpoint.
        saved: shapes in the checkpoint.
        wanted: shapes of the run's parameters.
    """
    names = {
        name: name.replace(f"{scope}decoder/", f"{stack}/", 1)
        for name in wanted
        if name.startswith(f"{scope}decoder/")
    }
    head = {
        name: name.replace(f"{scope}lm_head/", "generator_head/", 1)
        for name in wanted
        if name.startswith(f"{scope}lm_head/")
    }
    if all(_fits(theirs, saved, wanted[name]) for name, theirs in head.items()):
        names |= head
    return {name: theirs for name, theirs in names.items() if _fits(theirs, saved, wanted[name])}


def _fits(name: str, saved: Shapes, shape: tuple[int, ...]) -> bool:
    there = saved.get(name)
    # Rows of a vocabulary may be more here: those that only round a table up.
    return there is not None and (there == shape or (name.endswith("output_bias") and len(there) == 1))


def _note(name: str, task: Seq2SeqConfig, sources: Mapping[str, str]) -> str:
    has_head = any("/lm_head/" in source for source in sources)
    head = ", its head included" if has_head else "; its head starts anew"
    return f"the decoder of {name} starts from the {task.decoder.init}{head}; its attention to the source starts anew"
