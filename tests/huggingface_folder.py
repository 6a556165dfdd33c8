"""Folders as `transformers` writes them, from random numbers: names and shapes by the documentation of its models."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

TINY = {
    "vocab_size": 40,
    "embedding_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
TINY_GENERATOR = {**TINY, "hidden_size": 16, "num_attention_heads": 1, "intermediate_size": 48}
ARCHITECTURES = {"discriminator": "ElectraForPreTraining", "generator": "ElectraForMaskedLM"}


def words(count: int) -> list[str]:
    """A BERT vocabulary of ``count`` tokens, all different."""
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{n}" for n in range(count - 5))]


def random_tensors(network: str, sizes: dict, *, seed: int = 0, dtype=np.float32) -> dict[str, np.ndarray]:
    """State dict of one network; embeddings depend on the seed alone, so that a pair shares them."""
    rng = np.random.default_rng(seed)

    def random(*shape):
        return (0.02 * rng.standard_normal(shape, np.float32)).astype(dtype)

    def dense(name, inputs, outputs):
        return {f"{name}.weight": random(outputs, inputs), f"{name}.bias": random(outputs)}

    def norm(name, width):
        return {f"{name}.weight": random(width), f"{name}.bias": random(width)}

    hidden, embedding = sizes["hidden_size"], sizes["embedding_size"]
    made = {
        "electra.embeddings.word_embeddings.weight": random(sizes["vocab_size"], embedding),
        "electra.embeddings.position_embeddings.weight": random(sizes["max_position_embeddings"], embedding),
        "electra.embeddings.token_type_embeddings.weight": random(sizes["type_vocab_size"], embedding),
        **norm("electra.embeddings.LayerNorm", embedding),
    }
    rng = np.random.default_rng([seed, network == "generator"])
    if embedding != hidden:
        made |= dense("electra.embeddings_project", embedding, hidden)
    for number in range(sizes["num_hidden_layers"]):
        layer = f"electra.encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            made |= dense(f"{layer}.attention.{name}", hidden, hidden)
        made |= norm(f"{layer}.attention.output.LayerNorm", hidden)
        made |= dense(f"{layer}.intermediate.dense", hidden, sizes["intermediate_size"])
        made |= dense(f"{layer}.output.dense", sizes["intermediate_size"], hidden)
        made |= norm(f"{layer}.output.LayerNorm", hidden)
    if network == "discriminator":
        made |= dense("discriminator_predictions.dense", hidden, hidden)
        made |= dense("discriminator_predictions.dense_prediction", hidden, 1)
    else:
        made |= dense("generator_predictions.dense", hidden, embedding)
        made |= norm("generator_predictions.LayerNorm", embedding)
        made["generator_lm_head.bias"] = random(sizes["vocab_size"])
    return made


def random_encoder_decoder(encoder: dict, decoder: dict, *, seed: int = 0) -> dict[str, np.ndarray]:
    """State dict of an `EncoderDecoderModel` whose decoder has the encoder's embeddings."""
    read = random_tensors("discriminator", encoder, seed=seed)
    read = {name: array for name, array in read.items() if not name.startswith("discriminator_")}
    written = random_tensors("generator", decoder, seed=seed)
    rng, hidden = np.random.default_rng([seed, 2]), decoder["hidden_size"]

    def random(*shape):
        return 0.02 * rng.standard_normal(shape, np.float32)

    for number in range(decoder["num_hidden_layers"]):
        layer = f"electra.encoder.layer.{number}.crossattention"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            written |= {
                f"{layer}.{name}.weight": random(hidden, hidden),
                f"{layer}.{name}.bias": random(hidden),
            }
        norm = f"{layer}.output.LayerNorm"
        written |= {f"{norm}.weight": random(hidden), f"{norm}.bias": random(hidden)}
    made = {f"encoder.{name.removeprefix('electra.')}": array for name, array in read.items()}
    made |= {f"decoder.{name}": array for name, array in written.items()}
    if encoder["hidden_size"] != hidden:
        made["enc_to_dec_proj.weight"] = random(hidden, encoder["hidden_size"])
        made["enc_to_dec_proj.bias"] = random(hidden)
    return made


def write_encoder_decoder(
    folder: Path, encoder: dict = TINY, decoder: dict = TINY, *, tensors: dict | None = None, **more
) -> Path:
    """A folder of an `EncoderDecoderModel`: config.json, model.safetensors and vocab.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "model_type": "encoder-decoder",
        "architectures": ["EncoderDecoderModel"],
        "is_encoder_decoder": True,
        "encoder": {"model_type": "electra", **encoder},
        "decoder": {"model_type": "electra", "is_decoder": True, "add_cross_attention": True, **decoder},
        "decoder_start_token_id": 2,
        **more,
    }
    (folder / "config.json").write_text(json.dumps(described, indent=2))
    made = random_encoder_decoder(encoder, decoder) if tensors is None else tensors
    save_file(made, folder / "model.safetensors", {"format": "pt"})
    (folder / "vocab.txt").write_text("\n".join(words(encoder["vocab_size"])) + "\n")
    return folder


def write_config(folder: Path, network: str, sizes: dict, **more) -> None:
    """config.json alone."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {"model_type": "electra", "architectures": [ARCHITECTURES[network]], **sizes, **more}
    (folder / "config.json").write_text(json.dumps(described, indent=2))


def write_folder(
    folder: Path,
    network: str,
    sizes: dict = TINY,
    *,
    tensors: dict | None = None,
    vocabulary: bool = True,
    **more,
) -> Path:
    """A whole folder: config.json, model.safetensors and, unless told otherwise, vocab.txt."""
    write_config(folder, network, sizes, **more)
    save_file(tensors or random_tensors(network, sizes), folder / "model.safetensors", {"format": "pt"})
    if vocabulary:
        (folder / "vocab.txt").write_text("\n".join(words(sizes["vocab_size"])) + "\n")
    return folder


def write_pair(folder: Path, sizes: dict = TINY, generator: dict = TINY_GENERATOR) -> Path:
    """The folders ``discriminator`` and ``generator``."""
    write_folder(folder / "discriminator", "discriminator", sizes)
    write_folder(folder / "generator", "generator", generator)
    return folder
