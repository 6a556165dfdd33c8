"""Models that are tables: every text has a distribution of its own, so that a beam with another's state is found."""

from itertools import product

import jax.numpy as jnp
import numpy as np

from electra_jax.generation.filters import NEVER, Filters

END = 0


class Trees:
    """``rows`` models of random logits for all texts of up to ``depth`` tokens out of ``vocab``; 0 is the end."""

    def __init__(self, rows, vocab, depth, seed=0, scale=2.0):
        self.rows, self.vocab, self.depth = rows, vocab, depth
        texts = sum(vocab**length for length in range(depth))
        self.tables = scale * np.random.default_rng(seed).normal(size=(rows, texts, vocab)).astype(np.float32)

    def start(self):
        """Logits and state behind the prompts."""
        state = {"row": jnp.arange(self.rows), "place": jnp.zeros(self.rows, jnp.int32)}
        return jnp.asarray(self.tables[:, 0]), state

    def step(self, state, tokens, tables=None):
        tables = jnp.asarray(self.tables) if tables is None else tables
        place = jnp.minimum(state["place"] * self.vocab + tokens + 1, tables.shape[1] - 1)
        return tables[state["row"], place], {"row": state["row"], "place": place}

    def logits(self, row, text):
        """The logits behind a text, as numbers in Python."""
        place = 0
        for token in text:
            place = place * self.vocab + token + 1
        return self.tables[row, place]

    def log_probs(self, row, text):
        logits = self.logits(row, text).astype(np.float64)
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    def all_texts(self, row, least, most, *, can_end=True):
        """Every text with its log p: ended by token 0 after ``least`` others or more, or cut off at ``most``."""
        found = []
        for length in range(1, most + 1):
            for text in product(range(self.vocab), repeat=length):
                ends = can_end and text[-1] == END
                if END in text[:-1] or (not can_end and END in text) or (ends and length <= least):
                    continue
                if ends or length == most:
                    parts = [self.log_probs(row, text[:i])[token] for i, token in enumerate(text)]
                    found.append((text, sum(parts)))
        return found


def filters_for(vocab, *, can_end=True, **given):
    """Filters that let every token through, the end included or not."""
    ends = np.arange(vocab) == END
    return Filters(
        allowed=jnp.asarray(np.ones(vocab, bool) if can_end else ~ends), ends=jnp.asarray(ends), **given
    )


def softmax(logits):
    logits = np.asarray(logits, np.float64)
    weights = np.where(logits <= NEVER / 2, 0.0, np.exp(logits - logits.max(-1, keepdims=True)))
    return weights / weights.sum(-1, keepdims=True)


def first_texts(hypotheses, prompts):
    """For each row the texts that were found, the best first, with their scores."""
    tokens, written, scores = (
        np.asarray(a) for a in (hypotheses.tokens, hypotheses.written, hypotheses.scores)
    )
    return [
        [
            (
                tuple(tokens[row, beam, length : length + written[row, beam]].tolist()),
                float(scores[row, beam]),
            )
            for beam in range(tokens.shape[1])
            if scores[row, beam] > NEVER / 2
        ]
        for row, length in enumerate(prompts)
    ]
