"""What python -m electra_jax.convert promises: every way there and back without a bit of difference, and runs go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_runs import contents, metrics_of, write_run
from huggingface_folder import TINY, TINY_GENERATOR, words, write_folder, write_pair
from safetensors.numpy import load_file, save_file

from electra_jax import evaluate, train
from electra_jax.config import load_config
from electra_jax.config.text import TokenizerConfig
from electra_jax.convert import __main__ as convert
from electra_jax.convert.files.tensorflow_bundle import read_tensors
from electra_jax.convert.flat_parameters import expected_shapes, flatten
from electra_jax.convert.native_format import read_native, write_native
from electra_jax.convert.weights import Weights
from electra_jax.tokenizers.build import build_tokenizer
from electra_jax.training.checkpoints import find_checkpoint, read_identity, read_params

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = {
    "embeddings": [],
    "none": ["generator.sharing=none"],
    "none, of another width": ["generator.sharing=none", "generator.embedding_size=24"],
    "all": ["generator.sharing=all", "generator.size_fraction=1.0"],
    "masked_lm": ["objective={kind: masked_lm}"],
    "other sizes": [
        *(
            "model.num_layers=2",
            "model.num_heads=4",
            "model.intermediate_size=40",
            "model.embedding_size=null",
        ),
        *("generator.num_layers=3", "generator.num_heads=2", "generator.hidden_size=24"),
    ],
    "other epsilon": ["model.layer_norm_epsilon=1e-6", "model.vocab_multiple=1"],
}
TOKENIZERS = {
    "wordpiece": [],
    "wordpiece, accents kept": ["tokenizer.strip_accents=false"],
    "sentencepiece": [
        "tokenizer.kind=sentencepiece",
        "tokenizer.vocab_file=null",
        "tokenizer.vocab_size=300",
    ],
    "sentencepiece, cased": [
        *("tokenizer.kind=sentencepiece", "tokenizer.vocab_file=null", "tokenizer.vocab_size=290"),
        *("tokenizer.model_type=bpe", "tokenizer.lowercase=false", "tokenizer.strip_accents=false"),
    ],
}


def _random_run(folder, overrides):
    """A work directory of random parameters at ``folder/ours``, as if it had been converted; its `Weights`."""
    written = load_config(write_run(folder)).model_dump(exclude_defaults=True)
    if VARIANTS["masked_lm"][0] in overrides:
        del written["generator"]  # it has none, and says so
    (folder / "run.yaml").write_text(json.dumps(written))
    config = load_config(folder / "run.yaml", overrides)
    text = (folder / "corpus.txt").read_text().split("\n\n")
    tokenizer = build_tokenizer(config.tokenizer, lambda: iter(text))
    rng = np.random.default_rng(0)
    shapes = expected_shapes(config, tokenizer.vocab_size)
    parameters = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    weights = Weights(config, parameters, tokenizer.vocab_size, tokenizer, step=12)
    (folder / "ours").mkdir()
    write_native(weights, folder / "ours", folder / "ours")
    return weights


def _same(one, other):
    """Two `Weights` with the same parameters, bit for bit, and the same tokenizer."""
    assert one.parameters.keys() == other.parameters.keys()
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(other.parameters[name], array, err_msg=name)
        assert other.parameters[name].dtype == np.float32
    assert one.tokenizer.fingerprint == other.tokenizer.fingerprint
    assert one.vocab_size == other.vocab_size


def _stored(workdir):
    """The arrays of a checkpoint as they lie there, padding rows and stacked layers included."""
    step, directory = find_checkpoint(workdir)
    return step, read_params(directory, step)


@pytest.mark.parametrize(
    ("variant", "tokenizer"),
    [*((variant, "wordpiece") for variant in VARIANTS), *(("embeddings", t) for t in TOKENIZERS)],
)
def test_to_hugging_face_and_back(variant, tokenizer, tmp_path, command):
    weights = _random_run(tmp_path, VARIANTS[variant] + TOKENIZERS[tokenizer])
    ended = command(convert.main, tmp_path / "ours", tmp_path / "theirs")
    assert ended.status == 0, ended.err
    assert ended.out.startswith("electra_jax -> huggingface: ")
    ended = command(convert.main, tmp_path / "theirs", tmp_path / "back", "model.vocab_multiple=8")
    assert ended.status == 0, ended.err
    back = read_native(tmp_path / "back")
    _same(weights, back)
    assert back.config.model.layer_norm_epsilon == weights.config.model.layer_norm_epsilon
    assert back.config.model.num_heads == weights.config.model.num_heads
    assert back.config.generator.sharing == (weights.config.generator.sharing)
    assert load_config(tmp_path / "back" / "config.yaml") == back.config
    # What training reads has the same tokenizer: the file that config.yaml names.
    named = build_tokenizer(back.config.tokenizer, lambda: iter(()))
    assert named.fingerprint == weights.tokenizer.fingerprint


@pytest.mark.parametrize("variant", [*VARIANTS, "electric"])
def test_to_tensorflow_and_back(variant, tmp_path, command):
    overrides = {**VARIANTS, "electric": ["objective={kind: electric}"]}[variant]
    weights = _random_run(tmp_path, overrides)
    ended = command(convert.main, tmp_path / "ours", tmp_path / "theirs", "--to", "tensorflow")
    assert ended.status == 0, ended.err
    # The heads are 1 for every width here, by the original's rule, and 2 in the run: the note says so.
    [told] = [line for line in ended.err.splitlines() if "must be told: " in line]
    settings = told.partition("must be told: ")[2].split()
    assert f"model.num_heads={weights.config.model.num_heads}" in settings
    ended = command(
        convert.main, tmp_path / "theirs", tmp_path / "back", *settings, "tokenizer.lowercase=true"
    )
    assert ended.status == 0, ended.err
    back = read_native(tmp_path / "back")
    _same(weights, back)
    assert back.step == 12
    assert back.config.objective.kind == weights.config.objective.kind
    assert back.config.model.num_heads == weights.config.model.num_heads
    assert back.config.model.layer_norm_epsilon == weights.config.model.layer_norm_epsilon


def test_to_ours_and_to_tensorflow_from_hugging_face(tmp_path, command):
    """Every pair of formats is a way; the numbers do not depend on it."""
    write_pair(tmp_path / "theirs")
    settings = ["model.num_heads=2", "generator.num_heads=1"]
    for source, destination, to, more in (
        ("theirs", "ours", "electra_jax", []),
        ("theirs", "original", "tensorflow", []),
        ("original", "again", "huggingface", settings),
        ("ours", "copy", "electra_jax", []),
        ("again", "twice", "huggingface", []),
    ):
        ended = command(convert.main, tmp_path / source, tmp_path / destination, "--to", to, *more)
        assert ended.status == 0, ended.err
    for network in ("discriminator", "generator"):
        expected = load_file(tmp_path / "theirs" / network / "model.safetensors")
        for folder in ("again", "twice"):
            arrays = load_file(tmp_path / folder / network / "model.safetensors")
            assert arrays.keys() == expected.keys()
            assert all(np.array_equal(arrays[name], array) for name, array in expected.items())
    _same(read_native(tmp_path / "ours"), read_native(tmp_path / "copy"))


@pytest.mark.shared_data
def test_from_tensorflow_to_hugging_face_is_their_own_conversion(shared, tmp_path, command):
    prefix = shared / "golden" / "tf" / "tiny_ckpt" / "model.ckpt-3"
    vocab = shared / "golden" / "tf" / "data" / "vocab.txt"
    ended = command(convert.main, prefix, tmp_path / "ours", "--vocab", vocab, "model.num_heads=2")
    assert ended.status == 0, ended.err
    assert command(convert.main, tmp_path / "ours", tmp_path / "theirs").status == 0
    variables = read_tensors(prefix)
    table = json.loads((shared / "golden" / "name_map.json").read_text())
    for network, folder in (("disc", "discriminator"), ("gen", "generator")):
        arrays = load_file(tmp_path / "theirs" / folder / "model.safetensors")
        rows = {variable: name for variable, name in table[network].items() if variable in variables}
        assert {name.removesuffix(" T") for name in rows.values()} == set(arrays)  # the table has 12 layers
        for variable, name in rows.items():
            expected = variables[variable].T if name.endswith(" T") else variables[variable]
            np.testing.assert_array_equal(arrays[name.removesuffix(" T")], expected)


ORIGINALS = {
    "tiny": "electra",
    "tiny_untied_generator": "electra",
    "tiny_untied_generator_embeddings": "electra",
    "tiny_electra_objective": "masked_lm",
    "tiny_electra_objective_electric_objective": "electric",
}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ORIGINALS)
def test_the_originals_files_come_back_byte_for_byte_with_the_optimizer(name, shared, tmp_path, command):
    prefix = shared / "golden" / "tf" / f"{name}_ckpt" / "model.ckpt-3"
    vocab = shared / "golden" / "tf" / "data" / "vocab.txt"
    argv = [prefix, tmp_path / "ours", "--vocab", vocab, "--optimizer", "model.num_heads=2"]
    ended = command(convert.main, *argv)
    assert ended.status == 0, ended.err
    assert read_native(tmp_path / "ours").config.objective.kind == ORIGINALS[name]
    argv = [tmp_path / "ours", tmp_path / "theirs", "--to", "tensorflow", "--optimizer"]
    assert command(convert.main, *argv).status == 0
    for ending in (".index", ".data-00000-of-00001"):
        written = (tmp_path / "theirs" / f"model.ckpt-3{ending}").read_bytes()
        assert written == prefix.with_name(prefix.name + ending).read_bytes()


def _sources(folder, command):
    """Arguments that name the same pair, in the forms a source has."""
    pair = write_pair(folder / "pair")
    (folder / "sharded").mkdir()
    tensors = load_file(pair / "discriminator" / "model.safetensors")
    names = sorted(tensors)
    for number, some in enumerate((names[::3], names[1::3], names[2::3])):
        save_file({name: tensors[name] for name in some}, folder / "sharded" / f"{number}.safetensors")
    table = {name: f"{position % 3}.safetensors" for position, name in enumerate(names)}
    index = json.dumps({"weight_map": table})
    (folder / "sharded" / "model.safetensors.index.json").write_text(index)
    for name in ("config.json", "vocab.txt"):
        shutil.copy(pair / "discriminator" / name, folder / "sharded")
    for to, where in (("electra_jax", "work"), ("tensorflow", "tf")):
        assert command(convert.main, pair, folder / where, "--to", to).status == 0
    heads = ["model.num_heads=2", "generator.num_heads=1"]
    generator = pair / "generator"
    return {
        "a folder with both": [pair],
        "one folder and the other": [pair / "discriminator", "--generator", generator],
        "shards": [folder / "sharded", "--generator", generator],
        "a work directory": [folder / "work"],
        "a checkpoint": [folder / "work" / "checkpoints" / "0"],
        "a step": [folder / "work", "--step", "0"],
        "a prefix": [folder / "tf" / "model.ckpt-0", *heads],
        "a file of a prefix": [folder / "tf" / "model.ckpt-0.index", *heads],
        "a directory with a prefix": [folder / "tf", *heads],
    }


def test_every_form_of_a_source_is_recognised(tmp_path, command):
    for form, arguments in _sources(tmp_path, command).items():
        name = form.replace(" ", "-")
        ended = command(convert.main, arguments[0], tmp_path / name, "--to", "huggingface", *arguments[1:])
        assert ended.status == 0, (form, ended.err)
        for network in ("discriminator", "generator"):
            expected = load_file(tmp_path / "pair" / network / "model.safetensors")
            arrays = load_file(tmp_path / name / network / "model.safetensors")
            assert arrays.keys() == expected.keys(), form
            assert all(np.array_equal(arrays[n], array) for n, array in expected.items()), form


def _settings_of(finished):
    """The overrides with which a conversion is of the finished run's data and recipe."""
    run = load_config(finished / "run.yaml")
    dumped = run.model_dump()
    names = ("data.source", "data.cache_dir", "data.eval_fraction", "data.prepare_processes")
    names += ("train.steps", "train.batch_size", "train.log_every", "train.eval_every", "train.show_examples")
    names += ("optimizer.learning_rate", "optimizer.warmup_steps", "model.vocab_multiple")
    return [f"{name}={json.dumps(dumped[name.split('.')[0]][name.split('.')[1]])}" for name in names]


def test_a_run_goes_on_after_a_journey_through_tensorflow_bit_for_bit(finished, tmp_path, command):
    """Step 3, moments along, to the original's format and back; then step 6 is that of the run never interrupted."""
    run = load_config(finished / "run.yaml")
    heads = [f"model.num_heads={run.model.num_heads}", f"generator.num_heads={run.generator.num_heads or 1}"]
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    argv = [finished / "work", theirs, "--step", 3, "--to", "tensorflow", "--optimizer"]
    assert command(convert.main, *argv).status == 0
    assert (theirs / "model.ckpt-3.index").is_file()
    ended = command(convert.main, theirs, ours, "--optimizer", *_settings_of(finished), *heads)
    assert ended.status == 0, ended.err
    assert _stored(ours)[0] == 3

    ended = command(train.main, "--config", ours / "config.yaml", "--workdir", ours)
    assert ended.status == 0, ended.err
    assert f"resumed at step 3 from {ours / 'checkpoints' / '3'}" in ended.err
    (step, went_on), (_, expected) = _stored(ours), _stored(finished / "work")
    assert step == 6
    went_on, expected = (flatten(tree, read_native(ours).vocab_size) for tree in (went_on, expected))
    assert went_on.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(went_on[name], array, err_msg=name)
    # Held out, too: all that is logged is what the run logged itself.
    assert metrics_of(ours)[-1] == metrics_of(finished / "work")[-1]


def test_evaluation_of_converted_weights_is_that_of_the_run(finished, tmp_path, command):
    assert command(convert.main, finished / "work", tmp_path / "theirs").status == 0
    ended = command(convert.main, tmp_path / "theirs", tmp_path / "ours", *_settings_of(finished))
    assert ended.status == 0, ended.err
    ended = command(evaluate.main, "--workdir", tmp_path / "ours")
    assert ended.status == 0, ended.err
    expected = {name: v for name, v in metrics_of(finished / "work")[-1].items() if name != "split"}
    printed = json.loads(ended.out)
    assert {**expected, "step": 0} == {name: v for name, v in printed.items() if name != "eval_source"}


def test_evaluation_and_resuming_say_what_converted_weights_lack(finished, tmp_path, command):
    assert command(convert.main, finished / "work", tmp_path / "theirs").status == 0
    settings = _settings_of(finished)
    for name, more in (("discriminator", ()), ("unknown words", ("vocab.txt", "tokenizer.json"))):
        source = shutil.copytree(tmp_path / "theirs" / "discriminator", tmp_path / f"from {name}")
        for file in more:
            (source / file).unlink()
        assert command(convert.main, source, tmp_path / name, *settings).status == 0
        before = contents(tmp_path / name)
        config = tmp_path / name / "config.yaml"
        for argv in (
            (evaluate.main, "--workdir", tmp_path / name),
            (train.main, "--config", config, "--workdir", tmp_path / name),
        ):
            ended = command(*argv)
            assert ended.status == 2, ended.err
            sentence = ended.err.splitlines()[-1]
            if argv[0] is train.main:
                assert "holds converted weights and no state of an optimizer" in sentence
                assert f"init_from={tmp_path / name}" in sentence
            elif more:
                assert "does not hold a tokenizer" in sentence
            else:
                assert "lacks generator_encoder/" in sentence
            assert contents(tmp_path / name) == before


def test_a_run_starts_from_a_discriminator_alone(finished, tmp_path, command):
    """What it starts with, number by number, is in test_initialisation.py."""
    assert command(convert.main, finished / "work", tmp_path / "theirs").status == 0
    ours = tmp_path / "ours"
    assert command(convert.main, tmp_path / "theirs" / "discriminator", ours).status == 0
    argv = ["--config", finished / "run.yaml", "--workdir", tmp_path / "new", f"init_from={ours}"]
    ended = command(train.main, *argv)
    assert ended.status == 0, ended.err
    assert f"parameters from {ours / 'checkpoints' / '0'}, optimizer fresh" in ended.err
    assert "has none for it: generator_encoder, generator_head\n" in ended.err
    assert _stored(tmp_path / "new")[0] == 6


def test_another_vocabulary_is_refused(finished, tmp_path, command):
    lines = (finished / "vocab.txt").read_text().splitlines()
    files = {
        "swapped": [*lines[:-2], lines[-1], lines[-2], "words"],
        "changed": [*lines[:-1], "brand"],
        "shorter": lines[:-1],
    }
    assert command(convert.main, finished / "work", tmp_path / "theirs").status == 0
    assert command(convert.main, tmp_path / "theirs", tmp_path / "ours").status == 0
    argv = [
        "--config",
        finished / "run.yaml",
        "--workdir",
        tmp_path / "new",
        f"init_from={tmp_path / 'ours'}",
    ]
    for name, tokens in files.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(tokens) + "\n")
        ended = command(train.main, *argv, f"tokenizer.vocab_file={tmp_path / name}.txt")
        assert ended.status == 2
        assert "was trained with another vocabulary" in ended.err.splitlines()[-1]
        assert not (tmp_path / "new").exists()


def test_weights_without_a_vocabulary_are_compared_by_size(finished, tmp_path, command):
    assert command(convert.main, finished / "work", tmp_path / "theirs").status == 0
    for network in ("discriminator", "generator"):
        for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
            (tmp_path / "theirs" / network / name).unlink()
    ended = command(convert.main, tmp_path / "theirs", tmp_path / "ours")
    assert "note: no vocabulary in " in ended.err
    assert not (tmp_path / "ours" / "tokenizer").exists()
    argv = [
        "--config",
        finished / "run.yaml",
        "--workdir",
        tmp_path / "new",
        f"init_from={tmp_path / 'ours'}",
    ]
    short = tmp_path / "short.txt"
    short.write_text("\n".join((finished / "vocab.txt").read_text().splitlines()[:-1]) + "\n")
    ended = command(train.main, *argv, f"tokenizer.vocab_file={short}")
    assert ended.status == 2
    assert "this vocabulary only" in ended.err.splitlines()[-1]
    ended = command(train.main, *argv)
    assert ended.status == 0
    assert "does not hold its vocabulary: only the size was compared" in ended.err


def test_a_checkpoint_is_replaced_only_when_asked(tmp_path, command):
    write_pair(tmp_path / "theirs")
    write_folder(tmp_path / "other", "discriminator", {**TINY, "num_hidden_layers": 1})
    argv = [tmp_path / "theirs", tmp_path / "ours"]
    assert command(convert.main, *argv).status == 0
    before = contents(tmp_path / "ours")
    ended = command(convert.main, tmp_path / "other", tmp_path / "ours")
    assert (ended.status, contents(tmp_path / "ours")) == (2, before)
    assert command(convert.main, tmp_path / "other", tmp_path / "ours", "--overwrite").status == 0
    assert read_native(tmp_path / "ours").config.model.num_layers == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "ours", "theirs"]


def test_what_is_written_names_the_tokenizer_and_no_data(tmp_path, command):
    write_pair(tmp_path / "theirs")
    assert command(convert.main, tmp_path / "theirs", tmp_path / "ours").status == 0
    work = read_native(tmp_path / "ours")
    identity = read_identity(tmp_path / "ours" / "checkpoints", 0)
    assert (identity.tokenizer, identity.data) == (work.tokenizer.fingerprint, None)
    assert (tmp_path / "ours" / "tokenizer" / "vocab.txt").read_text().splitlines() == words(40)
    assert work.config.tokenizer == TokenizerConfig(
        kind="wordpiece",
        vocab_size=40,
        vocab_file=str(tmp_path / "ours" / "tokenizer" / "vocab.txt"),
        strip_accents=True,  # as transformers does where only the lower case is asked for
    )


def test_numbers_that_are_none_are_kept_and_said(tmp_path, command):
    pair = write_pair(tmp_path / "theirs")
    tensors = load_file(pair / "generator" / "model.safetensors")
    tensors["generator_predictions.dense.bias"] = np.full(16, np.nan, np.float32)
    save_file(tensors, pair / "generator" / "model.safetensors")
    ended = command(convert.main, pair, tmp_path / "ours")
    assert ended.status == 0
    assert "note: not every number is finite in generator_head/dense/bias: " in ended.err


DIE = """
import os, signal, sys
from electra_jax import cli
from electra_jax.convert import __main__ as convert, native_format

write = native_format.write_params

def write_and_die(*arguments):
    write(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

native_format.write_params = write_and_die
cli.run(convert.main)
"""


def test_killed_in_the_middle_leaves_nothing_and_the_next_run_works(tmp_path, command):
    write_pair(tmp_path / "theirs")
    died = subprocess.run(
        [sys.executable, "-c", DIE, str(tmp_path / "theirs"), str(tmp_path / "ours")],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": ""},
        timeout=120,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "ours").exists()
    assert command(convert.main, tmp_path / "theirs", tmp_path / "ours").status == 0
    assert read_native(tmp_path / "ours").vocab_size == 40


def test_a_real_process_needs_no_accelerator_and_prints_one_line(tmp_path):
    write_folder(tmp_path / "theirs", "generator", TINY_GENERATOR)
    done = subprocess.run(
        [sys.executable, "-m", "electra_jax.convert", str(tmp_path / "theirs"), str(tmp_path / "ours")],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "none_such", "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("huggingface -> electra_jax: ")
    assert done.stdout.count("\n") == 1
    assert all(line.startswith("note: ") for line in done.stderr.splitlines())
