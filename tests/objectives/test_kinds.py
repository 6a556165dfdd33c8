"""Nothing outside the objectives, their settings and one table asks which objective a run has."""

import ast
from pathlib import Path

import pytest
from small_run import SmallVocabulary, small_config

from electra_jax.config import schema
from electra_jax.objectives import build_network
from electra_jax.objectives.kinds import KINDS

PACKAGE = Path(schema.__file__).resolve().parents[1]
SETTINGS = {settings.__name__ for settings in KINDS}


def _asks(tree):
    """Lines that read ``….objective.kind``, or name a section of an objective."""
    for node in ast.walk(tree):
        named = getattr(node, "id", getattr(node, "name", None))
        owner = getattr(node, "value", None) if getattr(node, "attr", None) == "kind" else None
        if named in SETTINGS or "objective" in (getattr(owner, "attr", None), getattr(owner, "id", None)):
            yield node.lineno


def test_nobody_else_asks_for_the_kind():
    asking = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("objectives", "config", "configs")
        for line in _asks(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert not asking


def test_asking_is_found():
    assert list(_asks(ast.parse("if config.objective.kind == 'electra': pass")))
    assert list(_asks(ast.parse("isinstance(x, ElectraObjective)")))


@pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings.__name__)
def test_every_kind_has_networks_with_the_encoder_that_is_kept(settings):
    config = small_config(objective={"kind": settings().kind})
    network = build_network(config, SmallVocabulary.vocab_size)
    assert callable(network.encode)
