"""Rows and compilation for tests of the real network: small, and compiled in a hurry."""

import jax
import numpy as np
from small_run import SmallVocabulary

# Half the compile time; the arithmetic is the same operations in the same order.


def compiled(function, *args):
    """``jax.jit(function)`` compiled for ``args``, or what a jitted one compiles to."""
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    return jitted.lower(*args).compile()


def padded_rows(rows=8, length=16, seed=0):
    """Rows of [CLS] words [SEP] and very different amounts of padding; the first is full."""
    rng = np.random.default_rng(seed)
    made = np.full((rows, length), SmallVocabulary.pad_id, np.int32)
    for number, row in enumerate(made):
        end = max(4, length - number * length // rows)
        row[:end] = rng.integers(5, SmallVocabulary.vocab_size, end)
        row[0], row[end - 1] = SmallVocabulary.cls_id, SmallVocabulary.sep_id
    return made
