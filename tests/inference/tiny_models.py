"""Work directories made without training, each in a second or two."""

from pathlib import Path

import jax
import jax.numpy as jnp
from flax.core import meta as nn
from small_run import small_config

from electra_jax.config import dump_config
from electra_jax.config.schema import Config
from electra_jax.model.task_heads import ClassificationHead, MultipleChoiceHead
from electra_jax.model.text_encoder import init_params
from electra_jax.objectives import build_network
from electra_jax.tasks.build import build_task
from electra_jax.tasks.settings import TaskSettings, write_settings
from electra_jax.tokenizers.wordpiece_tokenizer import WordPieceTokenizer
from electra_jax.training.checkpoints import RunIdentity, write_params

VOCABULARY = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] ann bob left did who wrote hamlet he went away a sentence another . ?"
)
SETTINGS = {
    "mine": TaskSettings(kind="classification", labels=("no", "yes"), classes=("no", "yes")),
    "names": TaskSettings(kind="tagging", labels=("NOUN", "VERB"), classes=("NOUN", "VERB"), scheme="plain"),
    "squad": TaskSettings(kind="question_answering"),
    "reply": TaskSettings(kind="multiple_choice"),
}
MODEL = {"hidden_size": 8, "embedding_size": 8, "num_layers": 1, "num_heads": 2, "max_positions": 32}


def write_fine_tuned(folder: Path) -> Path:
    """A work directory of three tasks."""
    tasks = {name: {"kind": settings.kind} for name, settings in SETTINGS.items()}
    tasks["squad"] |= {"max_question_tokens": 4}
    config = small_config(
        model=MODEL,
        objective={"kind": "finetune"},
        finetune={"tasks": tasks, "head_style": "huggingface"},
        data={"sequence_length": 32},
    )
    return _write(folder, config, SETTINGS)


def write_pre_trained(folder: Path) -> Path:
    """A work directory of both networks."""
    return _write(folder, small_config(model=MODEL, data={"sequence_length": 32}), {})


def write_causal(folder: Path) -> Path:
    """A work directory of a causal language model."""
    config = small_config(model=MODEL, objective={"kind": "causal_lm"}, data={"sequence_length": 32})
    return _write(folder, config, {})


def _write(folder: Path, config: Config, settings: dict[str, TaskSettings]) -> Path:
    vocabulary = "\n".join(VOCABULARY.split()).encode()
    tokenizer = WordPieceTokenizer(vocabulary, lowercase=True, strip_accents=True)
    network = build_network(config, tokenizer.vocab_size)
    params = dict(jax.jit(lambda: init_params(network, jax.random.key(0)))())
    if settings:
        params = {name: params[name] for name in ("embeddings", "encoder")}
        hidden = jnp.zeros((1, 8, config.model.hidden_size))
        heads = {name: build_task(name, some, config, tokenizer).head() for name, some in settings.items()}

        def read(head):
            pools = isinstance(head, ClassificationHead | MultipleChoiceHead)
            return (hidden, jnp.ones((1, 8), bool)) if pools else (hidden,)

        params["heads"] = jax.jit(
            lambda: nn.unbox(
                {name: head.init(jax.random.key(1), *read(head))["params"] for name, head in heads.items()}
            )
        )()
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(config))
    tokenizer.save(folder / "tokenizer")
    if settings:
        write_settings(folder, settings)
    write_params(
        folder / "checkpoints", 1, params, RunIdentity(tokenizer.fingerprint, None, config.model_dump())
    )
    return folder
