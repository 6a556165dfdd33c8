"""The examples shown when training ends: every line gives the held-out text back, whatever the generator."""

import io
import re
from contextlib import nullcontext
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.config.machines import MeshConfig
from electra_jax.objectives import build_objective
from electra_jax.partitioning.mesh import make_mesh
from electra_jax.training.examples import show_examples

V = SmallVocabulary


class _Words(SmallVocabulary):
    def token(self, number):
        return f"w{number}"

    def detokenize(self, ids):
        return " ".join(f"w{number}" for number in ids if number > self.mask_id)

    def word_start_table(self):
        return np.ones(self.vocab_size, bool)


def _shown(kind):
    """(what is printed, the held-out rows) of a network that has learned nothing."""
    masking = {} if kind == "causal_lm" else {"mask_rate": 0.4}
    config = small_config(objective={"kind": kind, **masking}, model={"num_layers": 1})
    rows = np.random.default_rng(0).integers(5, V.vocab_size, (8, 16)).astype(np.int32)
    rows[:, 0], rows[:, -1] = V.cls_id, V.sep_id
    held_out = SimpleNamespace(num_rows=len(rows), read=lambda numbers: rows[numbers])
    objective, out = build_objective(config, V()), io.StringIO()
    shapes, rng = jax.eval_shape(objective.init, jax.random.key(0)), np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(leaf.dtype), shapes)
    program = SimpleNamespace(objective=objective, on_mesh=nullcontext, mesh=make_mesh(MeshConfig()))
    prepared = SimpleNamespace(tokenizer=_Words(), eval=held_out)
    show_examples(program, params, prepared, count=3, seed=0, out=out)
    return out.getvalue().splitlines(), rows[[0, 3, 7]]


@pytest.mark.parametrize("kind", ["electra", "electric"])
def test_a_line_is_the_text_with_its_replacements(kind):
    (_, *lines), rows = _shown(kind)
    assert len(lines) == len(rows)
    assert any("<" in line for line in lines)
    for line, row in zip(lines, rows, strict=True):
        tokens = [
            re.sub(r"\[[-+?](?:\w+<)?(\w+)\]", r"\1", token) for token in line.removeprefix("- ").split()
        ]
        assert tokens == [f"w{number}" for number in row[1:-1]]


def test_nothing_is_shown_where_nothing_is_replaced():
    assert _shown("masked_lm")[0] == []


def test_a_language_model_goes_on_from_the_beginnings_of_rows():
    (_, *lines), rows = _shown("causal_lm")
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        prompt, written = line.split(" >> ")
        assert prompt.split() == [f"w{number}" for number in row[1:4]]
        assert len(written.split()) <= 12
    assert any(line.split(" >> ")[1] for line in lines)
