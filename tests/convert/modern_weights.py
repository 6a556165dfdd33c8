"""Weights with model.block=modern, of random numbers."""

from dataclasses import replace

import numpy as np
from small_run import SmallVocabulary, small_config

from electra_jax.convert.flat_parameters import expected_shapes
from electra_jax.convert.weights import Weights
from electra_jax.tasks.settings import TaskSettings

MODEL = {
    "block": "modern",
    "embedding_size": None,
    "num_layers": 3,
    "rope_theta": 100.0,
    "rope_theta_global": 1000.0,
    "local_attention": {"window": 6, "global_every": 2},
}

CLASSES, TAGS = ("no", "yes", "who knows"), ("O", "I-PER", "B-LOC", "B-PER", "I-LOC")  # not in our order
TASKS = {
    "classification": TaskSettings(kind="classification", labels=CLASSES, classes=CLASSES),
    "multi-label": TaskSettings(
        kind="classification", labels=CLASSES, classes=CLASSES, multi_label=True, threshold=0.25
    ),
    "regression": TaskSettings(kind="regression", low=1.0, high=5.0),
    "tagging": TaskSettings(kind="tagging", labels=TAGS, classes=TAGS, scheme="BIO", learned="labels"),
    "question_answering": TaskSettings(kind="question_answering", no_answer_threshold=-1.5),
    "multiple_choice": TaskSettings(kind="multiple_choice"),
}
OUTPUTS = {
    "classification": 3,
    "multi-label": 3,
    "regression": 1,
    "tagging": 5,
    "question_answering": 2,
    "multiple_choice": 1,
}


def random_weights(tokenizer=None, **sections):
    """Weights of a tiny model; the LayerNorm of the first block, which is never read, is ones."""
    config = small_config(**{"model": MODEL, **sections})
    rng, parameters = np.random.default_rng(0), {}
    for name, shape in expected_shapes(config, SmallVocabulary.vocab_size).items():
        mean = 1.0 if "norm" in name else 0.0
        parameters[name] = (mean + 0.15 * rng.normal(size=shape)).astype(np.float32)
        if name.endswith("encoder/layers/0/attention_layer_norm/scale"):
            parameters[name] = np.ones(shape, np.float32)
    return Weights(config, parameters, SmallVocabulary.vocab_size, tokenizer)


def fine_tuned(case, tokenizer=None, *, head_style="huggingface", length=128, **section):
    """Weights of a model with one head, of a task called mine; ``section`` is what its section has besides."""
    settings = TASKS[case]
    several = {"multi_label": True} if settings.multi_label else {}
    weights = random_weights(
        tokenizer,
        model={**MODEL, "max_positions": length},
        data={"sequence_length": length},
        objective={"kind": "finetune"},
        finetune={
            "tasks": {"mine": {"kind": settings.kind, **several, **section}},
            "head_style": head_style,
            "head_dropout": 0.3,
        },
    )
    width, rng = weights.config.model.hidden_size, np.random.default_rng(1)
    shapes = {
        "dense/kernel": (width, width),
        "layer_norm/scale": (width,),
        "prediction/kernel": (width, OUTPUTS[case]),
        "prediction/bias": (OUTPUTS[case],),
    }
    head = {
        f"heads/mine/{name}": rng.normal("norm" in name, 0.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    return replace(weights, parameters={**weights.parameters, **head}, tasks={"mine": settings})
