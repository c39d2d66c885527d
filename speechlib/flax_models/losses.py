"""What training makes small.

input -> output: logits (batch, tokens, vocabulary) and labels (batch, tokens) -> a number.
Special: the mirror of `torch_models/losses.py`, as far as the Flax models need it.

Notebook: 19_flax
"""

import jax
import jax.numpy as jnp


def label_smoothed_cross_entropy(logits, labels, smoothing=0.1, ignored=-100):
    """Cross-entropy against 1 - smoothing for the right class, and smoothing spread over all.

    logits (..., classes), labels (...); labels equal to `ignored` are not counted.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing must lie in 0 to 1, got {smoothing}")
    counted = labels != ignored  # multiplied in: a selection would have no fixed shape
    log_probs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    right = jnp.take_along_axis(log_probs, jnp.where(counted, labels, 0)[..., None], axis=-1)
    right = (right[..., 0] * counted).sum() / counted.sum()
    spread = (log_probs.mean(axis=-1) * counted).sum() / counted.sum()
    return -(1 - smoothing) * right - smoothing * spread
