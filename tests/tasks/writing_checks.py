"""What holds of every decoder behind an encoder, and is checked of each kind."""

import flax.linen as nn
import jax
import numpy as np
from tiny_writer import EXAMPLES

from electra_jax.tasks.protocol import NO_TARGET, Seq2SeqExample
from electra_jax.tasks.teacher_forcing import token_log_probs


def check_gradients(found, whole):
    """Loss and gradient of some microbatches and devices are those of the whole batch."""
    np.testing.assert_allclose(found[0], whole[0], rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(found[1]), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def check_probabilities(writer):
    """Texts are the same on a mesh, and have the probability that the loss gives them; return them."""
    found, _ = writer.write(EXAMPLES)
    spread, _ = writer.write(EXAMPLES, devices=8, axes={"data": 2, "fsdp": 2, "tensor": 2})
    assert texts_of(spread) == texts_of(found)
    for number in range(len(found[0])):
        texts = [of_one[number] for of_one in found]
        targets = np.full((8, 6), NO_TARGET, np.int32)
        for row, text in enumerate(texts):
            targets[row, : len(text.tokens)] = text.tokens
        batch = writer.batch([Seq2SeqExample(e.id, e.source, ("a",)) for e in EXAMPLES], rows=[*range(7), -1])
        log_p = _log_probs(writer, batch.replace(targets={"target_ids": targets}))
        for row, text in enumerate(texts):
            np.testing.assert_allclose(text.log_probs, log_p[row, : len(text.tokens)], rtol=1e-4, atol=1e-5)
    return found


def texts_of(found):
    """The tokens of all texts."""
    return [[text.tokens for text in some] for some in found]


def _log_probs(writer, batch):
    task, params = writer.task, writer.params
    encoder = {name: params[name] for name in ("embeddings", "encoder")}
    head = writer.objective._head_parameters(params, task)

    @jax.jit
    def compute(batch):
        hidden = writer.objective.network.apply({"params": encoder}, batch.inputs, None, method="encode")

        def call(network):
            return token_log_probs(network, hidden, batch, tokenizer=task.tokenizer)

        return nn.apply(call, task.network())({"params": head})["log_probs"]

    return np.asarray(compute(batch))
