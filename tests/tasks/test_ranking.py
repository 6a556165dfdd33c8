"""Ranking: rows of several segments, scores by hand, negatives of the whole batch, and metrics."""

import dataclasses
import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError
from small_run import small_config
from task_sections import task_section
from tiny_task import assert_same_gradient, tiny_task

from electra_jax.errors import UserError
from electra_jax.model.ranking_head import EncodedPairs, PairEncoder, scores_of_all, scores_of_own
from electra_jax.tasks.metrics import pearson, spearman
from electra_jax.tasks.negatives import drawn_texts, negatives_wanted, with_negatives
from electra_jax.tasks.paired_bootstrap import measure_of
from electra_jax.tasks.protocol import RankingExample, TextExample
from electra_jax.tasks.rank_metrics import place_measures, ranking_measures
from electra_jax.tasks.ranking_vectors import VectorsOf

SECTIONS = {
    "bi": {"kind": "ranking", "encoder": "bi", "max_candidate_tokens": 6},
    "poly": {"kind": "ranking", "encoder": "poly", "codes": 3, "max_candidate_tokens": 6},
    "cross": {"kind": "ranking", "encoder": "cross", "negatives_per_example": 2},
}
CONTEXTS = ("abcdefghabcdefgh", "ba", "cab", "dddabc", "ed", "fghaa", "gcagh", "hh")
RESPONSES = ("hgf", "abcdefga", "c", "abcd", "hgfed", "c", "bdfhb", "aa")  # two are the same
PAIRS = [
    RankingExample(str(n), c, (r,), (0,)) for n, (c, r) in enumerate(zip(CONTEXTS, RESPONSES, strict=True))
]
LISTS = [RankingExample(str(n), c, RESPONSES, (n,)) for n, c in enumerate(CONTEXTS)]


@pytest.fixture(scope="module")
def rankers():
    return {name: tiny_task(section, PAIRS) for name, section in SECTIONS.items()}


def _shown(task, row):
    return "".join({2: "<", 3: "|"}.get(i, task.tokenizer.token(i)) for i in row.tolist())


def test_a_row_has_the_context_and_each_candidate_as_a_text_of_its_own(rankers):
    task = rankers["bi"].task
    example = RankingExample("x", CONTEXTS[0], ("hgf", "abcdefga", "h"), (1,))
    rows = task.encode([example], training=True)
    assert _shown(task, rows.input_ids[0]) == "<" + CONTEXTS[0][-14:] + "|" + "<abcd|<hgf|<h|"
    batch = rankers["bi"].batch([example], length=40)
    assert batch.inputs.segment_ids[0].tolist() == [1] * 16 + [2] * 6 + [3] * 5 + [4] * 3 + [0] * 10
    positions = [*range(16), *range(6), *range(5), *range(3), *[0] * 10]
    assert batch.inputs.position_ids[0].tolist() == positions
    assert batch.targets["candidate"].tolist() == [[1, 2, 3]]
    many = task.encode([RankingExample("x", "a", ("abcdefgh",) * 100 + ("b",), (0,))], training=False)
    assert [count for count, _ in many.details] == [32, 32, 32, 5]
    assert [cut for _, cut in many.details] == [True] * 4
    assert many.example_index.tolist() == [0] * 4


def _vector(ranker, text):
    """The state of [CLS] of a text that is alone."""
    tokenizer = ranker.task.tokenizer
    ids = jnp.array([[tokenizer.cls_id, *tokenizer.encode(text), tokenizer.sep_id]])
    from electra_jax.model.inputs import EncoderInputs

    positions = jnp.arange(ids.shape[1])[None]
    inputs = EncoderInputs(ids, jnp.zeros_like(ids), positions, jnp.ones_like(ids))
    encoder = {name: ranker.params[name] for name in ("embeddings", "encoder")}
    return np.asarray(ranker.objective.network.apply({"params": encoder}, inputs, None, method="encode")[0])


@pytest.mark.parametrize("encoder", ["bi", "poly"])
def test_scores_are_those_of_texts_that_were_read_alone(rankers, encoder):
    ranker = rankers[encoder]
    head = ranker.params["heads"]["mine"]
    states, candidates = _vector(ranker, "cab"), [_vector(ranker, text)[0] for text in ("c", "abcd")]
    codes = states[:1]
    if encoder == "poly":
        weights = np.exp(np.asarray(head["codes"]["embedding"]) @ states.T)
        codes = weights / weights.sum(axis=1, keepdims=True) @ states
    expected = []
    for candidate in candidates:
        products = codes @ candidate
        weights = np.exp(products - products.max())
        expected.append((weights / weights.sum()) @ codes @ candidate * math.exp(head["log_scale"]))
    (found,), _ = ranker.predict([RankingExample("x", "cab", ("c", "abcd"))])
    assert found["scores"] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert found["candidate"] == ("c", "abcd")[int(np.argmax(expected))]


@pytest.mark.parametrize("encoder", ["bi", "poly"])
def test_the_loss_is_against_all_responses_of_the_batch_but_the_same_text(rankers, encoder):
    ranker = rankers[encoder]
    predictions, _ = ranker.predict(LISTS)
    scores = np.array([p["scores"] for p in predictions])
    scores[2, 5] = scores[5, 2] = -np.inf  # the same text as the right one
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    loss, _ = ranker.gradient(ranker.batch(PAIRS), data=1)
    np.testing.assert_allclose(loss, -np.diag(logs).mean(), rtol=1e-4)


def test_what_is_right_after_a_context_is_no_negative_of_it():
    """A ranker that puts all that is right after a context first has no loss, whatever else is in the batch."""
    examples = [
        RankingExample("0", "ab", ("c", "d", "e"), (0, 1)),
        RankingExample("1", "b", ("d", "f"), (0,)),
        RankingExample("2", "ab", ("g",), (0,)),  # the first one's context
        RankingExample("3", "b", ("h",), (0,)),
    ]
    right = {"ab": set("cdg"), "b": set("dh")}
    made = tiny_task({"kind": "ranking", "encoder": "bi"}, examples)
    rows, owners = with_negatives(examples, made.task.config, "mine")
    assert owners.tolist() == [0, 0, 1, 2, 3]
    for chosen in (range(5), (1, 3), (3, 4), (0, 1, 3)):
        some = [rows[n] for n in chosen]
        contexts = np.stack([[[50.0 * (c == one.context) for c in right]] for one in some])
        candidates = np.zeros((len(some), 3, 2), np.float32)
        for row, one in enumerate(some):
            for place, text in enumerate(one.candidates):
                candidates[row, place] = [text in right[context] for context in right]
        batch = made.batch(examples, rows=list(chosen))
        own = batch.targets["candidate"].shape[1]
        pairs = EncodedPairs(jnp.asarray(contexts), jnp.asarray(candidates[:, :own]), jnp.float32(1))
        losses = made.task.loss(lambda hidden, segments, own, pairs=pairs: pairs, None, batch, None)
        np.testing.assert_allclose(losses, 0, atol=1e-6, err_msg=str(list(chosen)))
    batch = made.batch(examples, rows=[*range(5), -1, -1, -1])
    assert_same_gradient(made.gradient(batch, data=4, fsdp=2), made.gradient(batch, data=1))


@pytest.mark.parametrize("encoder", SECTIONS)
def test_devices_give_the_loss_and_gradient_of_the_whole_batch(rankers, encoder):
    """Rows that only fill the batch are no negatives, either."""
    ranker = rankers[encoder]
    batch = ranker.batch(PAIRS, rows=[*range(7), -1])
    assert_same_gradient(ranker.gradient(batch, data=4, fsdp=2), ranker.gradient(batch, data=1))


def test_rows_that_fill_a_batch_are_no_negatives(rankers):
    ranker = rankers["bi"]
    few = [ranker.gradient(ranker.batch(PAIRS, rows=rows), data=1)[0] for rows in ([0, 1, -1, -1], [0, 1])]
    np.testing.assert_allclose(*few, rtol=1e-6)


def test_a_cross_encoder_scores_pairs_and_learns_against_drawn_negatives(rankers):
    ranker = rankers["cross"]
    predictions, _ = ranker.predict(LISTS[1:3])
    rows = ranker.task.encode(PAIRS, training=True)
    assert rows.input_ids[1].shape[0] == 3
    chosen, _ = with_negatives(PAIRS, ranker.task.config, "mine")
    assert all(e.candidates[0] == r for e, r in zip(chosen, RESPONSES, strict=True))
    for example in chosen:
        assert len(set(example.candidates)) == 3  # none is the right one, or there twice
    scores = [predictions[0]["scores"][RESPONSES.index(text)] for text in chosen[1].candidates]
    loss, _ = ranker.gradient(ranker.batch(PAIRS, rows=[1]), data=1)
    np.testing.assert_allclose(loss, np.log(np.exp(scores).sum()) - scores[0], rtol=1e-4)


def test_negatives_are_drawn_evenly():
    pool = [f"{n:03}" for n in range(200)]
    rng = np.random.default_rng(0)
    drawn = Counter(text for _ in range(2000) for text in drawn_texts(rng, pool, {"007", "123"}, 12))
    assert set(drawn) == {*pool} - {"007", "123"}
    mean = 2000 * 12 / 198
    assert all(abs(count - mean) < 5 * math.sqrt(mean) for count in drawn.values())


@pytest.mark.parametrize("left", [2000, 3])  # so few are found by trial no more
def test_where_thousands_may_not_be_drawn_others_are(left):
    pool = [f"{n:04}" for n in range(4000)]
    rng = np.random.default_rng(0)
    drawn = [drawn_texts(rng, pool, {*pool[left:]}, 5) for _ in range(200)]
    assert all(len(texts) == len({*texts}) == min(left, 5) for texts in drawn)
    counts = Counter(text for texts in drawn for text in texts)
    assert {*counts} <= {*pool[:left]}
    assert len(counts) >= min(left, 700)  # of 1,000 draws of 2,000 texts 787 are expected to differ


def test_what_is_right_after_a_context_is_not_drawn_for_it():
    examples = [RankingExample(str(n), "a" if n < 4 else "b", (str(n),), (0,)) for n in range(8)]
    for one in with_negatives(examples, task_section(kind="ranking", negatives_from="drawn"), "mine")[0]:
        there = range(4, 8) if one.context == "a" else range(4)
        assert set(one.candidates[1:]) == set(map(str, there))


_BOTH_WAYS = [
    RankingExample(context + right, context, (right,), (0,))
    for context, right in zip("abcdef", "badcfe", strict=True)
]


def test_a_context_is_not_drawn_as_its_own_negative():
    for one in with_negatives(_BOTH_WAYS, task_section(kind="ranking", encoder="cross"), "mine")[0]:
        assert set(one.candidates) == set("abcdef") - {one.context}


def test_a_context_is_no_negative_of_itself_in_the_batch():
    """A ranker that puts a text itself before what is right for it has no loss."""
    made = tiny_task({"kind": "ranking", "encoder": "bi"}, _BOTH_WAYS)
    vectors = {text: 50.0 * (1 + n % 2) * np.eye(3)[n // 2] for n, text in enumerate("abcdef")}
    assert vectors["b"] @ vectors["b"] > vectors["b"] @ vectors["a"]
    contexts = jnp.stack([vectors[one.context] for one in _BOTH_WAYS])[:, None]
    candidates = jnp.stack([vectors[one.candidates[0]] for one in _BOTH_WAYS])[:, None]
    pairs = EncodedPairs(contexts, candidates, jnp.float32(1))
    batch = made.batch(_BOTH_WAYS, rows=list(range(6)))
    losses = made.task.loss(lambda hidden, segments, own: pairs, None, batch, None)
    np.testing.assert_allclose(losses, 0, atol=1e-6)


def test_a_text_that_is_right_is_right_wherever_it_stands(rankers):
    example = RankingExample("x", "ab", ("okay", "no", "okay", "why"), (0,))
    (chosen,), _ = with_negatives([example], task_section(kind="ranking", negatives_from="file"), "mine")
    assert chosen.candidates == ("okay", "no", "why")
    both = dataclasses.replace(example, relevant=(0, 2))
    assert len(with_negatives([both], task_section(kind="ranking"), "mine")[0]) == 1
    scores = [{"scores": [3.0, 1.0, 3.0, 0.0]}]
    for one in (example, both):
        found = rankers["bi"].task.measures([one], scores, ["hits@1", "recall@5", "mrr", "ndcg"])
        assert {name: found[name](np.arange(1)) for name in found} == dict.fromkeys(found, 100.0)


def test_predictions_do_not_depend_on_devices_or_other_rows(rankers):
    for ranker in rankers.values():
        together, _ = ranker.predict(LISTS)
        (alone,), _ = ranker.predict(LISTS[3:4], devices=8, buckets=(16,))
        assert alone["scores"] == pytest.approx(together[3]["scores"], abs=1e-4)


def test_codes_that_are_all_the_same_are_one():
    rng = np.random.default_rng(0)
    contexts, candidates = rng.normal(size=(2, 1, 4)), rng.normal(size=(3, 4))
    one = scores_of_all(contexts, candidates)
    np.testing.assert_allclose(scores_of_all(np.repeat(contexts, 5, axis=1), candidates), one, rtol=1e-5)
    own = scores_of_own(contexts, np.stack([candidates, candidates]))
    np.testing.assert_allclose(own, one, rtol=1e-5)


def test_metrics_by_hand():
    ranked = [
        (np.array([0.1, 0.9, 0.5]), (0,)),  # third
        (np.array([0.9, 0.1, 0.5]), (0, 1)),  # first and third
        (np.array([0.1, np.nan, 0.1]), (0,)),  # second: of two that are the same the wrong one comes first
    ]
    found = ranking_measures(ranked, ["hits@1", "recall@2", "mrr", "ndcg"])
    ideal = 1 + 1 / math.log2(3)
    expected = {
        "hits@1": [0, 1, 0],
        "recall@2": [0, 0.5, 1],
        "mrr": [1 / 3, 1, 1 / 2],
        "ndcg": [0.5, 1.5 / ideal, 1 / math.log2(3)],
    }
    for name, values in expected.items():
        assert found[name](np.arange(3)) == pytest.approx(100 * np.mean(values))
    some = [np.array([2.0, 5.0, np.inf]), np.array([1.0]), np.array([np.inf])]
    within = place_measures(some, ["hits@4", "recall@4", "mrr@4", "mrr@1", "ndcg@2"])
    ideal_of_two = 1 + 1 / math.log2(3)
    for name, values in {
        "hits@4": [1, 1, 0],
        "recall@4": [1 / 3, 1, 0],
        "mrr@4": [1 / 2, 1, 0],
        "mrr@1": [0, 1, 0],
        "ndcg@2": [1 / math.log2(3) / ideal_of_two, 1, 0],
    }.items():
        assert within[name](np.arange(3)) == pytest.approx(100 * np.mean(values)), name
    perfect = [(np.eye(20)[n], (n,)) for n in range(20)]
    for name, measure in ranking_measures(perfect, ["hits@1", "recall@10", "mrr", "ndcg"]).items():
        assert measure(np.arange(20)) == 100, name


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"codes": 16}, "codes is for encoder poly, not bi"),
        ({"encoder": "cross", "similarity": "cosine"}, "similarity cosine is for encoders bi and poly"),
        ({"encoder": "cross", "negatives_from": "batch"}, "negatives_from batch is for encoders bi and poly"),
        ({"encoder": "cross", "scale": 2.0}, "scale is for encoders bi and poly, not cross"),
        ({"data": "x"}, "data is for benchmarks"),
        ({"temperature": 0.05, "scale": 20.0}, "temperature is 1 / scale, but stays as it is"),
        ({"encoder": "cross", "temperature": 0.05}, "temperature is for encoders bi and poly, not cross"),
        (
            {"encoder": "poly", "positives_from": "dropout"},
            "positives_from dropout is for encoder bi, not poly",
        ),
        ({"positives_from": "dropout", "negatives_from": "drawn"}, "leave negatives_from drawn out"),
        ({"scale": 0.0}, "greater than 0"),
    ],
)
def test_keys_that_do_not_go_together(section, message):
    with pytest.raises(ValidationError, match=message):
        task_section(kind="ranking", **section)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"accumulation_steps": 2}, "accumulation_steps=2 would cut into"),
        ({"batch_size": 1}, "batch_size=1 has none"),
    ],
)
def test_a_batch_without_negatives_is_refused(train, message):
    def config(task):
        return small_config(objective={"kind": "finetune"}, finetune={"tasks": {"mine": task}}, train=train)

    with pytest.raises(ValidationError, match=message):
        config({"kind": "ranking"})
    drawn = config({"kind": "ranking", "negatives_from": "drawn"})
    assert negatives_wanted(drawn.finetune.tasks["mine"]) == 15


def test_what_cannot_be_trained_on(rankers):
    with pytest.raises(UserError, match="codes is 17, more than the 16 tokens of a context"):
        tiny_task({**SECTIONS["poly"], "codes": 17}, PAIRS)
    with pytest.raises(UserError, match="the example 'x' has no right candidate to train on"):
        rankers["bi"].task.encode([RankingExample("x", "a", ("b", "c"))], training=True)
    section = task_section(kind="ranking", negatives_from="file")
    with pytest.raises(UserError, match=r"'0' has no negatives to be told from.*to batch or drawn"):
        with_negatives(PAIRS, section, "mine")
    alike = [RankingExample(str(n), "ab"[n], ("c",), (0,)) for n in range(2)]
    drawn = {"kind": "ranking", "negatives_from": "drawn"}
    for section, advice in (
        (drawn, "more examples: no other has another right candidate that could be drawn"),
        (drawn | {"negatives_per_example": 0}, "raise mine.negatives_per_example, which is 0"),
    ):
        with pytest.raises(UserError, match=rf"'0' has no negatives to be told from; .*{advice}"):
            with_negatives(alike, task_section(**section), "mine")
    with pytest.raises(UserError, match="metric is 'accuracy', but for ranking it must be one of: hits@1"):
        tiny_task({"kind": "ranking", "metric": "accuracy"}, PAIRS)


def test_a_temperature_divides_and_stays(rankers):
    hidden, segments = jnp.ones((1, 4, 8)), jnp.array([[1, 1, 2, 2]])

    def scale(**keys):
        config = task_section(kind="ranking", similarity="cosine", **keys)
        head = dataclasses.replace(rankers["bi"].task, config=config).head()
        params = head.init(jax.random.key(0), hidden, segments, 1)
        return jax.value_and_grad(lambda p: head.apply(p, hidden, segments, 1).scale)(params)

    (fixed, change), (learned, other) = scale(temperature=0.5), scale(scale=2.0)
    assert float(fixed) == float(learned) == pytest.approx(2)
    assert change["params"]["log_scale"] == 0 != other["params"]["log_scale"]


@pytest.mark.parametrize(("codes", "similarity"), [(0, "dot"), (0, "cosine"), (2, "cosine")])
def test_a_temperature_is_the_sections_whatever_the_parameters_are(codes, similarity):
    """Those of a head that was taken over are of another scale."""
    rng = np.random.default_rng(0)
    hidden, segments = rng.normal(size=(1, 5, 4)), np.array([[1, 1, 1, 2, 3]])
    head = PairEncoder(codes, "mean", similarity, scale=5.0, scale_is_learned=False)
    params = head.init(jax.random.key(0), hidden, segments, 2)["params"]

    def scores(params):
        pairs = head.apply({"params": params}, hidden, segments, 2)
        return np.asarray(scores_of_own(pairs.contexts, pairs.candidates) * pairs.scale)

    np.testing.assert_array_equal(scores({**params, "log_scale": jnp.float32(3.0)}), scores(params))
    assert head.apply({"params": params}, hidden, segments, 2).scale == pytest.approx(1 if codes else 5)


def test_a_text_that_is_its_own_right_candidate_is_read_twice_and_cut_alike(rankers):
    task = rankers["bi"].task
    section = task_section(kind="ranking", positives_from="dropout", max_candidate_tokens=6)
    alone = dataclasses.replace(task, config=section)
    rows = alone.encode([RankingExample("x", "abcdefgh", ("abcdefgh",), (0,))], training=True)
    assert _shown(task, rows.input_ids[0]) == "<abcd|<abcd|"
    assert rows.segment_ids[0].tolist() == [1] * 6 + [2] * 6
    asked = alone.encode([TextExample("x", "abcdefgh", "abcdefgh", 1.0)], training=False)
    assert _shown(task, asked.input_ids[0]) == "<abcd|<abcd|"
    for side in ("context", "candidate"):
        (row,) = VectorsOf(alone, side).encode(["abcdefgh"]).input_ids
        assert _shown(task, row) == "<abcd|"
    with pytest.raises(UserError, match="positives_from is dropout, but there is none"):
        tiny_task({"kind": "ranking", "positives_from": "dropout"}, PAIRS)


def test_scored_pairs_are_contexts_with_one_candidate(rankers):
    pairs = [TextExample(str(n), c, RESPONSES[n], float(n % 3)) for n, c in enumerate(CONTEXTS)]
    for name in ("bi", "cross"):
        ranker = rankers[name]
        found, _ = ranker.predict(pairs)
        lists, _ = ranker.predict(LISTS)
        scores = [one["scores"][0] for one in found]
        assert scores == pytest.approx([one["scores"][n] for n, one in enumerate(lists)], abs=1e-4)
        config = ranker.task.config.model_copy(update={"metric": "pearson"})
        task = dataclasses.replace(ranker.task, config=config)
        assert task.metrics == ("pearson", "spearman")
        gold = [pair.label for pair in pairs]
        expected = {"pearson": pearson(gold, scores), "spearman": spearman(gold, scores)}
        assert task.score(pairs, found) == pytest.approx(expected)
        assert measure_of(task, pairs, found, "pearson")(np.arange(8)) == pytest.approx(expected["pearson"])


def test_similarity_is_of_vectors_of_length_one():
    ranker = tiny_task({"kind": "ranking", "similarity": "cosine", "scale": 20.0, "pooling": "mean"}, PAIRS)
    (found,), _ = ranker.predict([RankingExample("x", "cab", ("cab", "abcd"))])
    scale = math.exp(ranker.params["heads"]["mine"]["log_scale"])
    assert found["scores"][0] == pytest.approx(scale, rel=1e-5)  # the same text
    assert found["scores"][1] < scale
    assert jax.tree.map(jnp.shape, ranker.params["heads"]["mine"]) == {"log_scale": ()}


def test_a_candidate_looks_at_the_scaled_cosines_of_a_poly_encoders_codes():
    rng = np.random.default_rng(0)
    hidden, segments = rng.normal(size=(1, 7, 4)), np.array([[1, 1, 1, 2, 2, 3, 0]])
    head = PairEncoder(3, "mean", "cosine", scale=5.0)
    variables = head.init(jax.random.key(0), hidden, segments, 2)
    pairs = head.apply(variables, hidden, segments, 2)
    found = scores_of_own(pairs.contexts, pairs.candidates) * pairs.scale
    logits = np.asarray(variables["params"]["codes"]["embedding"]) @ hidden[0, :3].T
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    contexts, candidates = shares @ hidden[0, :3], [hidden[0, 3:5].mean(axis=0), hidden[0, 5]]
    for score, candidate in zip(found[0], candidates, strict=True):
        lengths = np.linalg.norm(contexts, axis=1) * np.linalg.norm(candidate)
        scaled = 5.0 * (contexts @ candidate) / lengths
        weights = np.exp(scaled) / np.exp(scaled).sum()
        assert score == pytest.approx(weights @ scaled, abs=1e-5)
