"""Loads the original's variables into our parameter tree, for comparison with its figures."""

import numpy as np


def _dense(tf, name):
    return {"kernel": tf[f"{name}/kernel"], "bias": tf[f"{name}/bias"]}


def _layer_norm(tf, name):
    return {"scale": tf[f"{name}/gamma"], "bias": tf[f"{name}/beta"]}


def _embeddings(tf, scope):
    tables = {
        name: {"embedding": tf[f"{scope}/{name}_embeddings"]} for name in ("word", "position", "token_type")
    }
    return {**tables, "layer_norm": _layer_norm(tf, f"{scope}/LayerNorm")}


def _layer(tf, scope):
    return {
        "attention": {
            **{n: _dense(tf, f"{scope}/attention/self/{n}") for n in ("query", "key", "value")},
            "output": _dense(tf, f"{scope}/attention/output/dense"),
        },
        "attention_layer_norm": _layer_norm(tf, f"{scope}/attention/output/LayerNorm"),
        "intermediate": _dense(tf, f"{scope}/intermediate/dense"),
        "output": _dense(tf, f"{scope}/output/dense"),
        "output_layer_norm": _layer_norm(tf, f"{scope}/output/LayerNorm"),
    }


def _stack(trees):
    if isinstance(trees[0], dict):
        return {k: _stack([t[k] for t in trees]) for k in trees[0]}
    return np.stack(trees)


def _encoder(tf, scope):
    depth = 1 + max(
        int(n.split("layer_")[1].split("/")[0]) for n in tf if n.startswith(f"{scope}/encoder/layer_")
    )
    encoder = {"layers": _stack([_layer(tf, f"{scope}/encoder/layer_{i}") for i in range(depth)])}
    if f"{scope}/embeddings_project/kernel" in tf:
        encoder["embeddings_project"] = _dense(tf, f"{scope}/embeddings_project")
    return encoder


def _vocabulary_head(tf, scope):
    return {
        "dense": _dense(tf, f"{scope}/dense"),
        "layer_norm": _layer_norm(tf, f"{scope}/LayerNorm"),
        "output_bias": tf[f"{scope}/output_bias"],
    }


def params_from_reference(tf):
    """``tf`` maps the original's variable names to arrays."""
    params = {"embeddings": _embeddings(tf, "electra/embeddings"), "encoder": _encoder(tf, "electra")}
    if "generator/embeddings/word_embeddings" in tf:
        params["generator_embeddings"] = _embeddings(tf, "generator/embeddings")
    if any(name.startswith("generator/encoder") for name in tf):
        params["generator_encoder"] = _encoder(tf, "generator")
    for tower in ("generator_ltr", "generator_rtl"):
        if any(name.startswith(f"{tower}/") for name in tf):
            params[tower] = _encoder(tf, tower)
    for head, scope in (("generator_head", "generator_predictions"), ("cloze_head", "cloze_predictions")):
        if f"{scope}/output_bias" in tf:
            params[head] = _vocabulary_head(tf, scope)
    if "discriminator_predictions/dense/kernel" in tf:
        params["discriminator_head"] = {
            "dense": _dense(tf, "discriminator_predictions/dense"),
            "prediction": _dense(tf, "discriminator_predictions/dense_1"),
        }
    return params
