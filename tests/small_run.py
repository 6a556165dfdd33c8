"""A very small run for tests: a network of a few thousand parameters, and text that has something to learn."""

import random
from pathlib import Path

from electra_jax.config.schema import Config

SUBJECTS = (
    "the cat",
    "a small dog",
    "the old king",
    "my sister",
    "the red fox",
    "every student",
    "the sailor",
)
VERBS = ("likes", "watches", "follows", "remembers", "draws", "hears", "finds")
OBJECTS = ("the moon", "a river", "green apples", "the long road", "an open door", "quiet music", "old books")


class SmallVocabulary:
    """Stands in for a tokenizer where only the special ids and the size matter."""

    vocab_size = 100
    pad_id, unk_id, cls_id, sep_id, mask_id = range(5)


def small_config(**sections) -> Config:
    """A configuration of a tiny network; ``sections`` are merged over it."""
    values = {
        "data": {"sequence_length": 16},
        "model": {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 2,
            "embedding_size": 16,
            "max_positions": 16,
            "vocab_multiple": 8,
        },
        "generator": {"size_fraction": 0.5},
        "optimizer": {"learning_rate": 1e-3, "warmup_steps": 2},
        "train": {"steps": 40, "batch_size": 8, "log_every": 4, "eval_every": 20, "checkpoint_every": 5},
    }
    if sections.get("objective", {}).get("kind") in ("masked_lm", "causal_lm", "finetune"):
        del values["generator"]  # which these do not read
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return Config.model_validate(values)


def write_corpus(path: Path, documents: int = 120) -> Path:
    """A text file of simple sentences, the same each time."""
    rng = random.Random(0)
    texts = [
        "\n".join(
            f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)}."
            for _ in range(rng.randint(2, 9))
        )
        for _ in range(documents)
    ]
    path.write_text("\n\n".join(texts) + "\n")
    return path


def small_run_config(folder: Path, **sections) -> Config:
    """A whole small run on a corpus written below ``folder``."""
    corpus = folder / "corpus.txt"
    if not corpus.exists():
        write_corpus(corpus)
    data = {
        "source": f"text:{corpus}",
        "cache_dir": str(folder / "cache"),
        "eval_fraction": 0.2,
        "sequence_length": 16,
        "prepare_processes": 1,
        **sections.pop("data", {}),
    }
    tokenizer = {"vocab_size": 300, **sections.pop("tokenizer", {})}
    return small_config(data=data, tokenizer=tokenizer, **sections)
