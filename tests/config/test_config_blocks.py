"""What follows from model.block, and what does not go with it."""

import pytest
from small_run import small_config

from electra_jax.config import Config
from electra_jax.config.blocks import head_style, task_pooling
from electra_jax.model.sizes import network_sizes

MODERN = {"block": "modern", "embedding_size": None}


def test_defaults_follow_from_the_block():
    bert, modern = Config().model, Config.model_validate({"model": {"block": "modern"}}).model
    assert (bert.hidden_dropout, bert.attention_dropout, bert.layer_norm_epsilon) == (0.1, 0.1, 1e-12)
    assert (modern.hidden_dropout, modern.attention_dropout, modern.layer_norm_epsilon) == (0.0, 0.0, 1e-5)
    given = Config.model_validate({"model": {"block": "modern", "hidden_dropout": 0.2}}).model
    assert (given.hidden_dropout, given.attention_dropout) == (0.2, 0.0)


def test_three_products_of_the_feed_forward_layer_cost_what_two_do():
    config = Config.model_validate({"model": {"block": "modern"}})
    sizes = network_sizes(config.model, config.generator, 100)
    assert sizes.discriminator.intermediate_size == 704  # the multiple of 64 from 8/3 x 256 on
    assert sizes.generator.intermediate_size == 192  # and 8/3 x 64


def test_a_window_of_a_whole_row_is_taken_and_one_of_a_longer_model_in_fine_tuning():
    local = {"local_attention": {"window": 16}}
    small_config(model={**MODERN, **local})
    small_config(
        model={**MODERN, "local_attention": {"window": 128}},
        objective={"kind": "finetune"},
        finetune={"tasks": {"rte": {}}},
    )


@pytest.mark.parametrize("kind", ["classification", "regression", "multiple_choice", "ranking"])
def test_where_cls_does_not_see_all_of_a_text_the_mean_stands_for_it(kind):
    """The last layers are local, so that [CLS] would be the state of its neighbours; what is said wins."""

    def pooling(window, **task):
        config = small_config(
            model={**MODERN, "local_attention": {"window": window}},
            objective={"kind": "finetune"},
            finetune={"tasks": {"mine": {"kind": kind, **task}}},
        )
        return task_pooling(config.finetune.tasks["mine"], config.model)

    assert [pooling(16), pooling(None)] == ["mean", "first"]
    assert [pooling(16, pooling="first"), pooling(None, pooling="mean")] == ["first", "mean"]


SEQ2SEQ = {"tasks": {"mine": {"kind": "seq2seq"}}}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"block": "modern"}}, "embedding_size 16 does not go with block modern"),
        ({"model": {**MODERN, "attention_init": "local"}}, "attention_init local does not go with"),
        ({"model": {**MODERN, "num_heads": 32}}, "heads are 1 wide .hidden_size 32 / num_heads 32."),
        ({"model": {**MODERN, "type_vocab_size": 3}}, "type_vocab_size is read with block bert only"),
        (
            {"model": {"rope_theta": 100.0}},
            "rope_theta is read with block modern only, and block is bert: leave it out, or set block to modern",
        ),
        ({"model": {"local_attention": {"window": 8}}}, "local_attention is read with block modern only"),
        ({"model": {"rope_theta_global": 100.0}}, "rope_theta_global is read with block modern only"),
        (
            {"model": {**MODERN, "rope_theta_global": 100.0}},
            "rope_theta_global is read with local_attention.window only, which is null",
        ),
        (
            {"model": {**MODERN, "local_attention": {"global_every": 2}}},
            "local_attention.global_every is read with local_attention.window only",
        ),
        ({"model": {**MODERN, "local_attention": {"window": 7}}}, "local_attention.window 7 is odd"),
        (
            {"model": {**MODERN, "local_attention": {"window": 18}}},
            "local_attention.window 18 is above data.sequence_length 16",
        ),
        (
            {"model": MODERN, "generator": {"num_heads": 16}},
            "generator's heads are 1 wide .16 / 16.: set generator.num_heads or generator.hidden_size",
        ),
        (
            {"model": MODERN, "generator": {"hidden_size": 15}},
            "generator's heads are 15 wide .15 / 1.: set generator.num_heads or generator.hidden_size",
        ),
        (
            {
                "model": MODERN,
                "objective": {"kind": "finetune"},
                "finetune": {"tasks": {"mine": {"kind": "seq2seq", "decoder": {"hidden_size": 15}}}},
            },
            "mine: .* decoder's heads are 15 wide .15 / 1.: set decoder.num_heads or decoder.hidden_size",
        ),
        (
            {"model": MODERN, "generator": {"sharing": "none", "embedding_size": 8}},
            "generator.embedding_size 8 does not go with model.block=modern",
        ),
        ({"model": MODERN, "objective": {"kind": "causal_lm"}}, "does not go with objective.kind=causal_lm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_go_with_the_block(sections, message):
    with pytest.raises(ValueError, match=message):
        small_config(**sections)


@pytest.mark.parametrize(
    ("block", "given", "heads"),
    [
        ("modern", "huggingface", "modernbert"),
        ("modern", "reference", "reference"),
        ("bert", "huggingface", "huggingface"),
        ("bert", "reference", "reference"),
    ],
)
def test_the_heads_of_hugging_face_are_the_blocks_own(block, given, heads):
    config = small_config(
        model=MODERN if block == "modern" else {},
        objective={"kind": "finetune"},
        finetune={"tasks": {"rte": {}}, "head_style": given},
    )
    assert head_style(config.finetune, config.model) == heads


def test_a_decoder_may_stand_behind_it():
    config = small_config(model=MODERN, objective={"kind": "finetune"}, finetune=SEQ2SEQ)
    assert config.finetune.tasks["mine"].kind == "seq2seq"


def test_heads_of_a_decoder_that_starts_from_the_generator_are_not_known_yet():
    decoder = {"init": "generator", "hidden_size": 15}
    tasks = {"mine": {"kind": "seq2seq", "decoder": decoder}}
    kept = {"objective": {"kind": "finetune"}, "finetune": {"tasks": tasks}, "init_from": "runs/mine"}
    assert small_config(model=MODERN, **kept).finetune.tasks["mine"].decoder.num_heads is None


def test_heads_that_no_network_has_may_be_of_any_width():
    """A masked language model has no generator; one encoder for both has the heads of `model`, two here."""
    small_config(model={**MODERN, "hidden_size": 36}, objective={"kind": "masked_lm"})
    single = {"sharing": "all", "size_fraction": 1.0}
    small_config(model={**MODERN, "hidden_size": 130, "num_heads": 5}, generator=single)


def test_tables_that_were_shared_may_be_the_generators_own():
    """As conversion writes a pair with generator.sharing=gdes."""
    config = small_config(model=MODERN, generator={"sharing": "none", "embedding_size": 32})
    assert config.generator.embedding_size == config.model.hidden_size
