"""What fine-tuning says of the model it starts from."""

from tiny_models import write_causal, write_pre_trained

from electra_jax.config.schema import Config
from electra_jax.tasks.starting_point import starting_point


def notes(folder):
    tasks = {"mine": {"kind": "classification"}}
    config = Config.model_validate(
        {"objective": {"kind": "finetune"}, "init_from": str(folder), "finetune": {"tasks": tasks}}
    )
    return starting_point(config)[2]


def test_a_model_that_saw_one_side_alone_is_said_to_see_both(tmp_path):
    assert any("only what is before a token" in line for line in notes(write_causal(tmp_path / "lm")))
    assert not any("only what" in line for line in notes(write_pre_trained(tmp_path / "pair")))
