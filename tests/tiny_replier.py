"""A model with a task that ranks and a task that writes, of random weights, made in seconds."""

import json
from pathlib import Path

import jax
import numpy as np
from small_run import small_config

from electra_jax.config import dump_config
from electra_jax.objectives import build_network
from electra_jax.tasks.batches import BatchPlan, make_batch
from electra_jax.tasks.build import build_task
from electra_jax.tasks.objective import FineTuning
from electra_jax.tasks.protocol import RankingExample, RetrievedExample, Seq2SeqExample
from electra_jax.tasks.settings import TaskSettings, write_settings
from electra_jax.tokenizers.characters_tokenizer import CharactersTokenizer
from electra_jax.training.checkpoints import RunIdentity, write_params

MODEL = {"hidden_size": 16, "embedding_size": 16, "num_layers": 1, "num_heads": 2, "max_positions": 24}
EXAMPLES = {
    "ranker": RankingExample("a", "ab", ("a", "b"), (0,)),
    "writer": Seq2SeqExample("a", "ab", ("a",)),
    "refiner": RetrievedExample("a", "ab", ("a",), "b"),
}
KINDS = {
    "ranker": {"kind": "ranking", "encoder": "cross"},
    "writer": {"kind": "seq2seq", "conversations": {"speakers": "none", "history": 3}},
    "refiner": {"kind": "seq2seq", "conversations": {"speakers": "none"}, "retrieval": {"max_tokens": 8}},
}


def write_replier(folder: Path, names=("ranker", "writer")) -> Path:
    """A work directory with these tasks, whose vocabulary is letters, a colon and a newline."""
    content = json.dumps(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh moyu:-\n"]).encode()
    tokenizer = CharactersTokenizer(content, lowercase=False, strip_accents=False)
    config = small_config(
        model=MODEL,
        objective={"kind": "finetune"},
        finetune={"tasks": {name: KINDS[name] for name in names}},
        data={"sequence_length": 24},
        generation={"max_new_tokens": 4},
        tokenizer={"kind": "characters", "lowercase": False, "strip_accents": False},
    )
    settings = {name: TaskSettings(kind=KINDS[name]["kind"]) for name in names}
    tasks = {name: build_task(name, settings[name], config, tokenizer) for name in names}
    batches = {}
    for name, task in tasks.items():
        rows = task.encode([EXAMPLES[name]], training=True)
        plan = (
            BatchPlan(8, np.arange(len(rows)), 8) if name != "ranker" else BatchPlan(8, np.arange(len(rows)))
        )
        batches[name] = make_batch(name, rows, plan, tokenizer.pad_id, targets=True)
    objective = FineTuning(build_network(config, tokenizer.vocab_size), tasks, batches)
    shapes = jax.eval_shape(lambda: objective.init(jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: (rng.normal(size=leaf.shape) * 0.5 + ("scale" in str(path[-1]))).astype(
            np.float32
        ),
        shapes,
    )
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(config))
    tokenizer.save(folder / "tokenizer")
    write_settings(folder, settings)
    identity = RunIdentity(tokenizer.fingerprint, None, config.model_dump())
    write_params(folder / "checkpoints", 1, params, identity)
    return folder
