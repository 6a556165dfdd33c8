"""Retrieve-and-refine: what was retrieved for a source is read behind it, and sometimes it is the target itself.

A decoder that reads what a retriever found soon learns to ignore it, since it is seldom what it has to write (Weston et
al. 2018, 1808.04776). With the target in its place in a share alpha of the examples it learns to make use of it, which
Roller et al. 2020 (2004.13637, section 3.3) call alpha blending.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from electra_jax.config.seq2seq_task import Seq2SeqConfig
from electra_jax.tasks.protocol import RetrievedExample, Seq2SeqExample
from electra_jax.tokenizers import Tokenizer


def source_room(config: Seq2SeqConfig, max_length: int) -> int:
    """Return how many tokens of a source are read, [CLS] and [SEP] and what is retrieved taken off."""
    return max_length - 2 - (0 if config.retrieval is None else config.retrieval.max_tokens + 1)


def retrieved_ids(
    config: Seq2SeqConfig,
    tokenizer: Tokenizer,
    examples: Sequence[Seq2SeqExample],
    references: Sequence[Sequence[str]],
) -> tuple[list[list[int]], list[str]]:
    """Return what each row reads behind its source, [] where nothing was retrieved, and what to tell the user.

    Args:
        config: section of the task, with ``retrieval``.
        tokenizer: encodes the texts.
        examples: of which each has a row for each of its references, or one where it has none.
        references: to learn, by example; a share ``blend`` of them, drawn once, is read in place of what was retrieved.
    """
    assert config.retrieval is not None
    rng = np.random.default_rng(0)
    texts = []
    for example, some in zip(examples, references, strict=True):
        retrieved = example.retrieved if isinstance(example, RetrievedExample) else None
        for reference in some or (None,):
            is_target = reference is not None and rng.random() < config.retrieval.blend
            texts.append((reference if is_target else retrieved) or "")
    most = config.retrieval.max_tokens
    found = tokenizer.encode_batch(texts)
    long = sum(len(ids) > most for ids in found)
    notes = [f"note: {long:,} of {len(found):,} retrieved texts are cut at {most:,} tokens"] if long else []
    return [list(ids[:most]) for ids in found], notes
