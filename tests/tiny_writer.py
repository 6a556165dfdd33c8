"""A task that writes with a network of random weights, so that it says something else for every source."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from small_run import small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.objectives import build_network
from electra_jax.partitioning.axes import parameter_specs, path_name
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.build import build_task
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.prediction import make_predict_step, predict_rows
from electra_jax.tasks.protocol import Seq2SeqExample
from electra_jax.tasks.seq2seq import Seq2SeqTask
from electra_jax.tasks.settings import TaskSettings
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MODEL = {"hidden_size": 16, "embedding_size": 8, "num_layers": 1, "num_heads": 2, "vocab_multiple": 8}
NO_DROPOUT = {"hidden_dropout": 0.0, "attention_dropout": 0.0}
EXAMPLES = [
    Seq2SeqExample("a", "abcdefgh", ("hgf",)),
    Seq2SeqExample("b", "ba", ("abcdefga", "ab")),
    Seq2SeqExample("c", "cab", ("c",)),
    Seq2SeqExample("d", "dddabc", ("abcd",)),
    Seq2SeqExample("e", "ed", ("hgfed",)),
    Seq2SeqExample("f", "fghaa", ("aa",)),
    Seq2SeqExample("g", "gcagh", ("bdfhb",)),
]


def letters(lowercase=False):
    """A vocabulary of a few letters and a blank."""
    content = json.dumps([*SPECIAL, *"abcdefgh "]).encode()
    return CharactersTokenizer(content, lowercase=lowercase, strip_accents=False)


@dataclass(frozen=True)
class TinyWriter:
    """A task, what it belongs to, and weights."""

    config: Any
    task: Seq2SeqTask
    objective: FineTuning
    params: Any

    def batch(self, examples=EXAMPLES, *, length=16, target_length=16, rows=None):
        """The examples as one batch for training; ``rows`` has the numbers of the rows, -1 for padding."""
        encoded = self.task.encode(examples, training=True)
        numbers = np.arange(len(encoded)) if rows is None else np.array(rows)
        plan = BatchPlan(length, numbers, target_length)
        return make_batch("mine", encoded, plan, self.task.tokenizer.pad_id, targets=True)

    def write(self, examples, *, devices=1, buckets=(16,), batch_size=8, first_number=0, axes=None):
        """What is written for the examples, and the arrays it was read from; ``axes`` are keys of the section mesh."""
        mesh = make_mesh(MeshConfig(**(axes or {})), jax.devices()[:devices])
        params = self.params
        if axes:
            specs = parameter_specs(params, mesh)
            params = jax.tree.map(
                lambda array, spec: jax.device_put(array, NamedSharding(mesh, spec)), params, specs
            )
        rows = self.task.encode(examples, training=False)
        numbered = dataclasses.replace(rows, example_index=rows.example_index + first_number)
        outputs = predict_rows(
            make_predict_step(self.objective, mesh),
            mesh,
            params,
            "mine",
            numbered,
            batch_size=batch_size,
            buckets=buckets,
            pad_id=self.task.tokenizer.pad_id,
        )
        return self.task.texts(len(examples), rows, outputs), outputs


def tiny_writer(task=None, generation=None, **model):
    """Build it; ``task`` and ``generation`` are keys of the sections, and the others of the section ``model``."""
    config = small_config(
        objective={"kind": "finetune"},
        model={"max_positions": 16, **MODEL, **NO_DROPOUT, **model},
        data={"sequence_length": model.get("max_positions", 16)},
        finetune={"tasks": {"mine": {"kind": "seq2seq", **(task or {})}}},
        generation={"max_new_tokens": 6, **(generation or {})},
        tokenizer={"kind": "characters"},
    )
    tokenizer = letters()
    built = build_task("mine", TaskSettings(kind="seq2seq"), config, tokenizer)
    network = build_network(config, tokenizer.vocab_size)
    writer = TinyWriter(config, built, FineTuning(network, {"mine": built}, {}), None)
    batch = writer.batch()
    objective = FineTuning(network, {"mine": built}, {"mine": batch})
    shapes = jax.eval_shape(lambda: objective.init(jax.random.key(0)))
    rng = np.random.default_rng(0)

    def weights(path, leaf):
        name = path_name(path)
        size = 0.1 if name.endswith("bias") else 1.0 if "position" in name else 0.5
        made = rng.normal(size=leaf.shape) * size + name.endswith("scale")
        if name.endswith("output_bias"):
            made[tokenizer.sep_id] += 1.5  # so that some texts end
        return jnp.asarray(made, jnp.float32)

    params = jax.tree_util.tree_map_with_path(weights, shapes)
    return TinyWriter(config, built, objective, params)
