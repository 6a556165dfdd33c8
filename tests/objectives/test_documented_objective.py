"""docs/adding_an_objective.md, run: the objective it adds learns what can be known of a text, and no more."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.objectives.kinds import KINDS
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.program import build_program

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_an_objective.md"
WORDS, FOLLOWS = 8, 0.7  # a word is followed by the next one with this probability, else by any of them


@pytest.fixture
def added():
    """The names that the page defines; the table is as before afterwards."""
    before, names = dict(KINDS), {"__name__": "page"}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M):
        exec(compile(code, str(PAGE), "exec"), names)
    yield names
    KINDS.clear()
    KINDS.update(before)


def _rows(rng, count, length):
    """``[CLS] words [SEP]``, a Markov chain, with half a row of padding in every other one."""
    words = np.empty((count, length - 2), np.int64)
    words[:, 0] = rng.integers(0, WORDS, count)
    for place in range(1, length - 2):
        jumps = rng.random(count) >= FOLLOWS
        words[:, place] = np.where(jumps, rng.integers(0, WORDS, count), (words[:, place - 1] + 1) % WORDS)
    cls, sep = np.full((count, 1), SmallVocabulary.cls_id), np.full((count, 1), SmallVocabulary.sep_id)
    return np.hstack([cls, 5 + words, sep]).astype(np.int32)


def _entropy(length):
    """Nats a predicted token: the first word, those that follow, and [SEP], which is certain."""
    follows = FOLLOWS + (1 - FOLLOWS) / WORDS
    other = (1 - FOLLOWS) / WORDS
    step = -follows * np.log(follows) - (WORDS - 1) * other * np.log(other)
    return (np.log(WORDS) + (length - 3) * step) / (length - 1)


def test_it_learns_the_entropy_of_the_text_and_not_the_token_it_predicts(added):
    config = small_config(
        model={"num_layers": 1, "hidden_dropout": 0.0, "attention_dropout": 0.0},
        train={"batch_size": 64, "steps": 400},
        optimizer={"learning_rate": 5e-3, "warmup_steps": 20},
    )
    config = config.model_copy(update={"objective": added["NextTokenObjective"]()})
    program = build_program(config, SmallVocabulary(), make_mesh(config.mesh, jax.devices()[:1]))
    rng, length = np.random.default_rng(0), config.data.sequence_length
    with program.on_mesh():
        state = program.init()
        for _ in range(400):
            state, _ = program.train_step(state, program.to_global_batch(_rows(rng, 64, length)))
        sums = [
            program.eval_step(state.params, program.to_global_batch(_rows(rng, 64, length)), np.int32(number))
            for number in range(40)
        ]
    total = jax.tree.map(lambda *x: np.sum(x, axis=0), *sums)
    loss = program.objective.summarize(total)["loss"]
    # 40,000 tokens: the mean is known to 0.006 (one standard deviation); never below, but by chance.
    assert loss == pytest.approx(_entropy(length), abs=0.03)
