"""The shipped configurations: they parse, say only what differs, and hold the paper's numbers."""

from pathlib import Path

import pytest
import yaml

from electra_jax.config import Config, dump_config, load_config
from electra_jax.model.sizes import EncoderSizes, network_sizes

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SHIPPED = sorted(CONFIGS.rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_shipped_file_parses_and_round_trips(path, tmp_path):
    config = load_config(path)
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_config(config), encoding="utf-8")
    assert load_config(resolved) == config


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_shipped_file_says_only_what_differs_from_the_defaults(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    given = yaml.safe_load(text)
    base = given.pop("base", None)
    given.pop("init_from", None)  # not a section
    config = load_config(path).model_dump()
    default = (Config() if base is None else load_config(path.parent / base)).model_dump()
    if config["objective"]["kind"] == "finetune":
        given.pop("model", None)  # wins over the checkpoint's, whatever the default is
    for section, values in given.items():
        for key in values:
            assert config[section][key] != default[section][key], f"{section}.{key}"


# Clark et al. 2020, table 6: discriminator; width and heads of the generator; mask rate; length, batch, rate, steps.
PAPER = {
    "small": (EncoderSizes(256, 12, 4, 1024), 128, 64, 1, 0.15, 128, 128, 5e-4, 1_000_000),
    "base": (EncoderSizes(768, 12, 12, 3072), 768, 256, 4, 0.15, 512, 256, 2e-4, 766_000),
    "large": (EncoderSizes(1024, 24, 16, 4096), 1024, 256, 4, 0.25, 512, 2048, 2e-4, 400_000),
}


@pytest.mark.parametrize("name", PAPER)
def test_preset_has_the_papers_numbers(name):
    encoder, embedding, width, heads, mask_rate, length, batch, rate, steps = PAPER[name]
    config = load_config(CONFIGS / "pretrain" / f"{name}.yaml")
    sizes = network_sizes(config.model, config.generator, 30522)
    assert sizes.discriminator == encoder
    assert sizes.generator == EncoderSizes(width, encoder.num_layers, heads, 4 * width)
    assert sizes.embedding_size == embedding
    assert (sizes.max_positions, sizes.type_vocab_size, config.tokenizer.vocab_size) == (512, 2, 30522)
    assert (config.objective.kind, config.objective.mask_rate) == ("electra", mask_rate)
    assert (config.objective.generator_weight, config.objective.discriminator_weight) == (1.0, 50.0)
    assert (config.objective.temperature, config.objective.mask_token_probability) == (1.0, 0.85)
    assert (config.data.sequence_length, config.train.batch_size, config.train.steps) == (
        length,
        batch,
        steps,
    )
    optimizer = config.optimizer
    assert (optimizer.kind, optimizer.schedule, optimizer.learning_rate) == ("electra_adam", "linear", rate)
    assert (optimizer.warmup_steps, optimizer.weight_decay, optimizer.clip_norm) == (10_000, 0.01, 1.0)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.999, 1e-6)
    model = config.model
    assert (model.hidden_dropout, model.attention_dropout, model.initializer_range) == (0.1, 0.1, 0.02)
    assert model.layer_norm_epsilon == 1e-12


# Appendix B: rate and layer-wise decay by size; passes and length by task, 3 and 128 where nothing else is said.
# The paper has nothing as small as tiny.
RECIPES = {"tiny": (1e-3, 1.0), "small": (3e-4, 0.8), ".": (1e-4, 0.8), "large": (5e-5, 0.9)}
TASKS = sorted(path.stem for path in (CONFIGS / "finetune").glob("*.yaml") if path.stem != "recipe")


@pytest.mark.parametrize("size", RECIPES)
@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_the_papers_recipe_for_every_size(size, task):
    config = load_config(CONFIGS / "finetune" / size / f"{task}.yaml")
    assert (config.optimizer.learning_rate, config.optimizer.layer_decay) == RECIPES[size]
    assert list(config.finetune.tasks) == [task]
    questions = task in ("squad", "squad2")
    epochs = {"rte": 10.0, "stsb": 10.0, "squad": 2.0, "squad2": 2.0}.get(task, 3.0)
    length = {"chunk": 256, "mutual": 256}.get(task, 512 if questions else 128)
    assert (config.finetune.epochs, config.data.sequence_length) == (epochs, length)
    assert (config.finetune.warmup_fraction, config.train.batch_size) == (0.1, 32)
