"""Logistic regression with a ridge, on all examples at once: what a frozen probe learns."""

import numpy as np

_RIDGE = 1e-3  # times half the squared weights, beside the mean loss
_STEPS = 500


def fit_logistic(features: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return weights float64 ``[features + 1, classes]`` (the last row is the bias) of a softmax regression.

    Nesterov's accelerated gradient with the step that the largest curvature allows; no random numbers.

    Args:
        features: float ``[examples, features]``, of about unit variance each.
        labels: int ``[examples]``.
        classes: how many there are.
    """
    x = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    target = np.eye(classes)[labels]
    # The Hessian of a softmax is at most half the covariance of the features (Böhning 1992).
    curvature = 0.5 * np.linalg.norm(x, 2) ** 2 / len(x) + _RIDGE
    decay = np.full((x.shape[1], 1), _RIDGE)
    decay[-1] = 0.0  # not of the bias
    weights = ahead = np.zeros((x.shape[1], classes))
    for step in range(_STEPS):
        gradient = x.T @ (softmax(x @ ahead) - target) / len(x) + decay * ahead
        following = ahead - gradient / curvature
        ahead = following + step / (step + 3) * (following - weights)
        weights = following
    return weights


def logits(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return float64 ``[examples, classes]``."""
    return features.astype(np.float64) @ weights[:-1] + weights[-1]


def softmax(values: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
