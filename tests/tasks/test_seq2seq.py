"""A task that writes: what it learns from a batch, and what it writes for a row, wherever the row is."""

import math
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import compiled
from tiny_writer import EXAMPLES, tiny_writer
from writing_checks import texts_of

from electra_jax.config.machines import MeshConfig
from electra_jax.errors import UserError
from electra_jax.partitioning.mesh import make_mesh, to_global_batch
from electra_jax.tasks.copyable import copyable
from electra_jax.tasks.protocol import NO_TARGET, RetrievedExample, Seq2SeqExample
from electra_jax.training.state import init_state
from electra_jax.training.step import make_train_step

SMOOTHING, UNLIKELIHOOD = 0.2, 0.5


@pytest.fixture(scope="module")
def writer():
    return tiny_writer({"label_smoothing": SMOOTHING, "unlikelihood": UNLIKELIHOOD})


def by_steps(writer, batch):
    """Log-probabilities of each row's target tokens, and of all entries there, one token after the other."""
    task, params = writer.task, writer.params
    network = task.network()
    head = writer.objective._head_parameters(params, task)
    encoder = {name: params[name] for name in ("embeddings", "encoder")}
    targets = batch.targets["target_ids"]
    rows, length = targets.shape

    @jax.jit
    def begin(inputs):
        hidden = writer.objective.network.apply({"params": encoder}, inputs, None, method="encode")
        tokens = copyable(batch, task.tokenizer)
        source = network.apply({"params": head}, hidden, inputs.segment_ids, tokens, method="source")
        kept = network.apply({"params": head}, source, method="read_source")
        prompts = jnp.full((rows, 1), task.tokenizer.cls_id, jnp.int32)
        ones = jnp.ones(rows, jnp.int32)
        return kept, network.apply({"params": head}, prompts, ones, length + 1, kept, method="prefill")

    kept, (logits, cache) = begin(batch.inputs)
    step = jax.jit(lambda cache, ids: network.apply({"params": head}, cache, ids, kept, method="step"))
    found = []
    for position in range(length):
        found.append(np.asarray(jax.nn.log_softmax(logits)))
        logits, cache = step(cache, jnp.maximum(targets[:, position], 0))
    return np.stack(found, axis=1)  # [rows, length, entries]


def test_the_loss_is_the_mean_over_tokens_of_what_is_written_one_by_one(writer):
    """With smoothing, and what is against repeats, in training alone; padding, of rows too, costs nothing."""
    batch = writer.batch(rows=[*range(7), -1])
    targets = batch.targets["target_ids"]
    there = targets != NO_TARGET
    log_p = by_steps(writer, batch)
    nll = -np.take_along_axis(log_p, np.maximum(targets, 0)[..., None], axis=-1)[..., 0]
    entries = writer.task.tokenizer.vocab_size
    smoothed = (1 - SMOOTHING) * nll - SMOOTHING * log_p[..., :entries].mean(axis=-1)

    @jax.jit
    def loss(params, rng):
        return writer.objective.loss(params, batch, writer.objective.loss_normalizers(batch), rng)

    evaluated, sums = loss(writer.params, None)
    trained, _ = loss(writer.params, jax.random.key(0))
    np.testing.assert_allclose(evaluated, nll[there].mean(), rtol=1e-5)
    again = np.zeros_like(nll)
    for row, column in np.argwhere(there):
        before = {*targets[row, :column]} - {targets[row, column]}
        again[row, column] = -np.log1p(-np.exp(log_p[row, column, list(before)])).sum()
    assert again.any()
    np.testing.assert_allclose(trained, (smoothed + UNLIKELIHOOD * again)[there].mean(), rtol=1e-5)
    assert batch.weights.tolist() == [4, 9, 3, 2, 5, 6, 3, 0]
    np.testing.assert_allclose(sums["mine_loss"], [nll[there].sum(), there.sum()], rtol=1e-5)


def _gradient(writer, pieces, **axes):
    """Loss and gradient of the whole batch, in so many microbatches, as one step of gradient descent gives them."""
    objective, optimizer = writer.objective, optax.sgd(1.0)
    batch = writer.batch()
    assert len(batch.weights) == 8
    mesh = make_mesh(MeshConfig(**axes), jax.devices()[: math.prod(axes.values())])
    shapes = jax.eval_shape(lambda: init_state(objective, optimizer, batch, jax.random.key(0)))
    state = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes).replace(params=writer.params)
    step = make_train_step(
        objective,
        optimizer,
        optax.constant_schedule(1.0),
        seed=0,
        accumulation_steps=pieces,
        log_every=1,
    )
    with jax.set_mesh(mesh):
        shared = to_global_batch(mesh, batch)
        after, report = compiled(step, state, shared)(state, shared)
    change = jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), state.params, after.params)
    return float(report["loss"]), change


@pytest.fixture(scope="module")
def whole(writer):
    return _gradient(writer, 1)


@pytest.mark.parametrize(
    ("pieces", "axes"), [(1, {"data": 8}), (4, {"data": 2}), (2, {"data": 2, "fsdp": 2, "tensor": 2})]
)
def test_microbatches_and_devices_give_the_loss_and_gradient_of_the_whole_batch(writer, whole, pieces, axes):
    """Their tokens are spread unevenly, so a mean of means would be another number."""
    loss, gradient = _gradient(writer, pieces, **axes)
    np.testing.assert_allclose(loss, whole[0], rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_padding_of_sources_and_targets_changes_nothing():
    """Not even where it reaches beyond the positions that there are."""
    writer = tiny_writer(max_positions=11)

    @jax.jit
    def loss(params, batch):
        return jax.value_and_grad(
            lambda params: writer.objective.loss(
                params, batch, writer.objective.loss_normalizers(batch), None
            )[0]
        )(params)

    examples = [replace(EXAMPLES[1], targets=("abcdefghab",)), EXAMPLES[2]]
    short, long = (
        loss(writer.params, writer.batch(examples, length=length, target_length=target_length))
        for length, target_length in ((8, 11), (11, 16))
    )
    for ours, theirs in zip(jax.tree.leaves(long), jax.tree.leaves(short), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _read_by(writer, batch, rng):
    """What the decoder reads in a batch, and how its targets are smoothed."""
    seen = SimpleNamespace()

    def losses(source, read, targets, weights, smoothing, rng, repeats):
        seen.read, seen.targets, seen.smoothing, seen.rng = np.asarray(read), targets, smoothing, rng
        seen.repeats = repeats
        return jnp.float32(0), jnp.zeros(read.shape)

    head = SimpleNamespace(source=lambda hidden, segments, tokens: None, losses=losses)
    writer.task.loss(head, None, batch, rng)
    return seen


def test_word_dropout_masks_words_in_training_but_never_the_beginning():
    writer = tiny_writer({"word_dropout": 0.5, "label_smoothing": SMOOTHING, "unlikelihood": UNLIKELIHOOD})
    tokenizer = writer.task.tokenizer
    examples = [Seq2SeqExample(str(number), "a", ("abcdefghabcdefg",)) for number in range(64)]
    batch = writer.batch(examples)
    (row,) = {tuple(ids) for ids in batch.targets["target_ids"].tolist()}
    evaluated = _read_by(writer, batch, None)
    assert {tuple(ids) for ids in evaluated.read.tolist()} == {(tokenizer.cls_id, *row[:-1])}
    assert evaluated.smoothing == evaluated.repeats == 0
    trained, again, other = (_read_by(writer, batch, jax.random.key(seed)) for seed in (0, 0, 1))
    assert set(trained.read[:, 0]) == {tokenizer.cls_id}
    masked = trained.read[:, 1:] == tokenizer.mask_id
    assert 0.45 < masked.mean() < 0.55
    np.testing.assert_array_equal(
        np.where(masked, 0, trained.read[:, 1:]), np.where(masked, 0, evaluated.read[:, 1:])
    )
    np.testing.assert_array_equal(trained.targets, evaluated.targets)
    np.testing.assert_array_equal(trained.read, again.read)
    assert (trained.read != other.read).any()
    assert (trained.smoothing, trained.repeats) == (SMOOTHING, UNLIKELIHOOD)
    assert trained.rng is not None


@pytest.mark.parametrize(
    "settings", [{}, {"beams": 3, "n_best": 2}, {"temperature": 1.5, "n": 2, "seed": 3}], ids=str
)
def test_what_is_written_for_a_row_does_not_depend_on_its_batch_nor_on_devices(settings):
    writer = tiny_writer(generation=settings)
    found, outputs = writer.write(EXAMPLES)
    assert len({texts[0].tokens for texts in found}) > 4
    assert all(len(texts) == settings.get("n_best", settings.get("n", 1)) for texts in found)
    spread, by_devices = writer.write(EXAMPLES, devices=8)
    assert texts_of(spread) == texts_of(found)
    np.testing.assert_allclose(by_devices["scores"], outputs["scores"], rtol=1e-4)
    if "beams" in settings:
        apart, _ = writer.write(EXAMPLES, devices=8, axes={"data": 2, "fsdp": 2, "tensor": 2})
        assert texts_of(apart) == texts_of(found)
    # The rows in the reverse order of lengths, in shorter rows where they fit.
    bucketed, _ = writer.write(EXAMPLES, buckets=(6, 16))
    assert texts_of(bucketed) == texts_of(found)
    for number in (1, 4):
        alone, _ = writer.write(EXAMPLES[number : number + 1], first_number=number)
        assert texts_of(alone) == texts_of(found[number : number + 1])
    for texts in found:
        scores = [text.score for text in texts]
        if "beams" in settings:
            assert scores == sorted(scores, reverse=True)
        else:
            assert scores == pytest.approx([sum(text.log_probs) for text in texts], rel=1e-4)


def test_what_is_drawn_depends_on_the_number_of_an_example_and_on_the_seed():
    settings = {"temperature": 1.5, "n": 2}
    first, second = (tiny_writer(generation=settings | {"seed": seed}) for seed in (0, 1))
    same = [EXAMPLES[0]] * 3
    found = texts_of(first.write(same)[0])
    assert len({tokens for texts in found for tokens in texts}) > 4
    assert texts_of(first.write(same, first_number=1)[0])[:2] == found[1:]
    assert texts_of(second.write(same)[0]) != found


def test_chunks_of_one_text_do_not_change_what_is_drawn_for_another():
    writer = tiny_writer({"long": "chunks"}, {"temperature": 1.5})
    long = Seq2SeqExample("long", "abcdefgh" * 4)
    (drawn, after), _ = writer.write([long, EXAMPLES[1]], batch_size=4)
    (_, alone), _ = writer.write([EXAMPLES[2], EXAMPLES[1]], batch_size=4)
    assert after[0].tokens == alone[0].tokens
    assert len(drawn) == 1
    assert len(drawn[0].tokens) > 6  # three chunks, one text


@pytest.mark.parametrize(
    "method", [{}, {"beams": 3, "n_best": 3}, {"method": "sample", "temperature": 2.0, "n": 4}], ids=str
)
def test_no_run_of_the_source_is_written_but_what_was_retrieved_may_be(method):
    examples = [
        RetrievedExample(example.id, example.source[:4], example.targets, "hgfedcba"[number:])
        for number, example in enumerate(EXAMPLES)
    ]
    repeats = set()
    for n in (0, 1):
        blocking = tiny_writer(
            {"retrieval": {"max_tokens": 8}}, method | {"min_new_tokens": 5, "no_repeat_source_ngram": n}
        )
        encode = blocking.task.tokenizer.encode
        found, _ = blocking.write(examples)
        for example, texts in zip(examples, found, strict=True):
            for text in texts:
                if {*text.tokens} & {*encode(example.source)}:
                    repeats.add((n, "source"))
                if {*text.tokens} & {*encode(example.retrieved)}:
                    repeats.add((n, "retrieved"))
    assert repeats == {(0, "source"), (0, "retrieved"), (1, "retrieved")}
    spread, _ = blocking.write(examples, devices=8)
    assert texts_of(spread) == texts_of(found)


def test_greedy_takes_the_likeliest_token_each_time_and_one_beam_does_the_same(writer):
    greedy, outputs = writer.write(EXAMPLES)
    examples = [replace(example, targets=None) for example in EXAMPLES]
    batch = writer.batch([replace(example, targets=("a",)) for example in examples], rows=[*range(7), -1])
    targets = np.full((8, 6), NO_TARGET, np.int32)
    for row, (text,) in enumerate(greedy):
        targets[row, : len(text.tokens)] = text.tokens
    log_p = by_steps(writer, batch.replace(targets={"target_ids": targets}))
    tokenizer = writer.task.tokenizer
    never = [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.mask_id]
    allowed = log_p.copy()
    allowed[..., never] = -np.inf
    for row, (text,) in enumerate(greedy):
        count = len(text.tokens)
        assert text.tokens == tuple(allowed[row, :count].argmax(axis=-1))
        taken = log_p[row, np.arange(count), list(text.tokens)]
        np.testing.assert_allclose(text.log_probs, taken, rtol=1e-4, atol=1e-5)
        assert (text.finish == "end") == (text.tokens[-1] == tokenizer.sep_id)
        assert tokenizer.sep_id not in text.tokens[:-1]
    beam = tiny_writer(generation={"method": "beam", "length_penalty": 0.0})
    one, by_beam = beam.write(EXAMPLES)
    assert texts_of(one) == texts_of(greedy)
    np.testing.assert_allclose(by_beam["scores"], outputs["scores"], rtol=1e-4)


def test_a_text_ends_at_a_stop_string_and_where_there_is_no_room():
    full = {"max_new_tokens": 100, "min_new_tokens": 50}  # no end before
    found, _ = tiny_writer(generation=full).write(EXAMPLES)
    texts = [text for (text,) in found]
    # [CLS] has one of the 16 positions.
    assert {(len(text.tokens), text.finish) for text in texts} == {(15, "length")}
    number = max(range(len(texts)), key=lambda number: len(set(texts[number].text)))
    whole = texts[number].text
    stop = next(whole[at : at + 2] for at in range(1, 12) if whole.find(whole[at : at + 2]) == at)
    stopping, _ = tiny_writer(generation=full | {"stop_strings": [stop]}).write(EXAMPLES)
    (text,) = stopping[number]
    assert (text.text, text.finish) == (whole[: whole.find(stop)].strip(), "stop")
    count = whole.find(stop) + 2
    assert text.tokens == texts[number].tokens[:count]
    assert text.log_probs == texts[number].log_probs[:count]
    assert text.score == pytest.approx(sum(text.log_probs))


def test_an_end_that_is_text_is_part_of_the_text():
    full = {"max_new_tokens": 100, "min_new_tokens": 50}
    (text,) = max(tiny_writer(generation=full).write(EXAMPLES)[0], key=lambda texts: len(set(texts[0].text)))
    ending = text.text[1]
    found, _ = tiny_writer(generation={"max_new_tokens": 100, "end_tokens": [ending]}).write(EXAMPLES)
    ended = [text for (text,) in found if text.finish == "end" and text.text]
    assert any(text.text.endswith(ending) for text in ended)
    assert all(len(text.text) >= len(text.tokens) - 1 for text in ended)  # all but [SEP]


@pytest.mark.parametrize(
    "settings",
    [{"end_tokens": ["none"]}, {"ban": ["é"]}, {"forced_prefix": "aé"}, {"stop_strings": ["é"]}],
)
def test_what_the_vocabulary_cannot_write_is_refused_when_the_task_is_made(settings):
    (key,) = settings
    with pytest.raises(UserError, match=rf"^generation\.{key} has "):
        tiny_writer(generation=settings)


def test_a_metric_that_is_named_twice_is_measured_once():
    named = {"metric": "exact_match", "metrics": ["repetition", "exact_match", "repetition"]}
    assert tiny_writer(named).task.metrics == ("exact_match", "repetition")
