"""Checkpoints that PyTorch itself wrote, of networks of `transformers` as trainers wrap and save them."""

import argparse

import numpy as np
import pytest
from huggingface_folder import TINY, TINY_GENERATOR
from safetensors.numpy import load_file

from electra_jax.convert.huggingface_format import read_huggingface
from electra_jax.convert.huggingface_writing import write_huggingface
from electra_jax.convert.native_format import read_native, write_native

torch = pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[huggingface]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install -e '.[huggingface]'"
)
HEADS = ["model.num_heads=2", "generator.num_heads=1"]


@pytest.fixture(scope="module")
def networks():
    """A generator and a discriminator in one module, with one embedding layer, and an optimizer after a step."""
    torch.manual_seed(0)
    both = torch.nn.Module()
    both.generator = transformers.ElectraForMaskedLM(transformers.ElectraConfig(**TINY_GENERATOR))
    both.discriminator = transformers.ElectraForPreTraining(transformers.ElectraConfig(**TINY))
    both.discriminator.electra.embeddings = both.generator.electra.embeddings
    optimizer = torch.optim.AdamW(both.parameters())
    ids = torch.ones(1, 4, dtype=torch.long)
    (both.generator(ids).logits.sum() + both.discriminator(ids).logits.sum()).backward()
    optimizer.step()
    return both, optimizer


WAYS = {
    "electra_pytorch": lambda both, _: both.state_dict(),
    "fastai": lambda both, optimizer: {"model": both.state_dict(), "opt": optimizer.state_dict()},
    "Lightning": lambda both, optimizer: {
        "state_dict": {f"model.{name}": tensor for name, tensor in both.discriminator.state_dict().items()},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": argparse.Namespace(lr=1e-4, config=both.discriminator.config),
        "callbacks": {"best": np.float64(0.5), "score": torch.tensor(0.5)},
        "epoch": 3,
    },
    "DataParallel": lambda both, _: torch.nn.DataParallel(both.discriminator).state_dict(),
    "compiled": lambda both, _: torch.compile(both.discriminator).state_dict(),
}


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("way", WAYS)
def test_every_number_comes_through(networks, tmp_path, way, layout):
    both, _ = networks
    path = tmp_path / "saved.pt"
    torch.save(WAYS[way](*networks), path, _use_new_zipfile_serialization=layout == "zip")
    write_huggingface(read_huggingface([path], overrides=HEADS), tmp_path / "written")
    for folder in (tmp_path / "written").iterdir():
        model = getattr(both, folder.name)
        for name, array in load_file(folder / "model.safetensors").items():
            np.testing.assert_array_equal(array, model.state_dict()[name].numpy(), err_msg=name)
        _, info = type(model).from_pretrained(folder, output_loading_info=True)
        assert not any(info.values()), info
    assert len([*(tmp_path / "written").iterdir()]) == (2 if way in ("electra_pytorch", "fastai") else 1)


def test_a_bare_encoder_there_and_back(tmp_path):
    model = transformers.ElectraModel(transformers.ElectraConfig(**TINY)).eval()
    model.save_pretrained(tmp_path / "theirs")
    write_native(read_huggingface([tmp_path / "theirs"]), tmp_path / "ours", tmp_path / "ours")
    write_huggingface(read_native(tmp_path / "ours"), tmp_path / "again")
    folder = tmp_path / "again" / "discriminator"
    again, info = transformers.ElectraModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert model.config.to_dict() | {"_name_or_path": ""} == again.config.to_dict() | {"_name_or_path": ""}
