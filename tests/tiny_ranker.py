"""Rankers of random weights, in memory or in a work directory, without training."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
from small_run import small_config
from tiny_writer import MODEL, NO_DROPOUT, letters

from electra_jax.config import dump_config
from electra_jax.config.conversations import ConversationsConfig
from electra_jax.inference.model import Model
from electra_jax.tasks.build import build_task
from electra_jax.tasks.settings import TaskSettings, write_settings
from electra_jax.training.checkpoints import RunIdentity, write_params

SECTIONS = {
    "bi": {"similarity": "cosine", "pooling": "mean", "max_candidate_tokens": 6},
    "poly": {"codes": 3, "max_candidate_tokens": 6},
    "cross": {},
}


@cache
def ranker(encoder: str, seed: int = 0) -> Model:
    """A model with one task, reply; texts are made of the letters a to h."""
    from tiny_task import tiny_task

    from electra_jax.tasks.protocol import RankingExample

    section = {"kind": "ranking", "encoder": encoder, **SECTIONS[encoder]}
    if encoder == "cross":
        section["negatives_per_example"] = 1
    made = tiny_task(
        section, [RankingExample("x", "ab", ("c", "d"), (0,)), RankingExample("y", "b", ("e", "f"), (0,))]
    )
    config = small_config(
        objective={"kind": "finetune"},
        model={"max_positions": 16, **MODEL, **NO_DROPOUT},
        data={"sequence_length": 16},
        finetune={"tasks": {"reply": section}},
        tokenizer={"kind": "characters"},
    )
    params = {**made.params, "heads": {"reply": made.params["heads"]["mine"]}}
    if seed:
        params = jax.tree.map(lambda leaf: leaf + jnp.float32(seed), params)
    tokenizer = letters()
    task = build_task("reply", TaskSettings(kind="ranking"), config, tokenizer)
    return Model(config, tokenizer, params, {"reply": task})


def ranker_of_conversations(encoder: str) -> Model:
    """Return the same ranker with a task ``reply`` on conversations, whose last turn it reads, without names."""
    model = ranker(encoder)
    (section,) = model.config.finetune.tasks.values()
    section = section.model_copy(update={"conversations": ConversationsConfig(speakers="none", history=1)})
    finetune = model.config.finetune.model_copy(update={"tasks": {"reply": section}})
    config = model.config.model_copy(update={"finetune": finetune})
    return Model(config, model.tokenizer, model._params, model.tasks)


def write_ranker(folder: Path, encoder: str) -> Path:
    """The same in a work directory."""
    model = ranker(encoder)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(model.config))
    model.tokenizer.save(folder / "tokenizer")
    write_settings(folder, {"reply": TaskSettings(kind="ranking")})
    identity = RunIdentity(model.tokenizer.fingerprint, None, model.config.model_dump())
    write_params(folder / "checkpoints", 1, model._params, identity)
    return folder
