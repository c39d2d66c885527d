"""Flax against the goldens: transformers 4.46.3 in PyTorch, and its FlaxWav2Vec2Model."""

import numpy as np
import pytest
from golden_cases import GOLDEN, assert_close, outputs

pytest.importorskip("jax", reason="the Flax models need jax: make test installs it")

from flax_cases import nnx  # noqa: E402

import speechlib as sl  # noqa: E402

NAMES = ("wavlm-base", "wavlm-large", "wavlm-adapter", "wav2vec2-base", "wav2vec2-large")


def listen(model, waveform, lengths):
    """Output, hidden states and maps; the trace stands inside the compiled function."""
    with sl.trace(model, "*.weights") as seen:
        states = model.hidden_states(waveform, lengths)
    output = states[-1] if model.adapter is None else model.adapter(states[-1])
    return output, states, list(seen.values())


@pytest.mark.parametrize("name", NAMES)
def test_encoders_equal_transformers(name):
    """Padded: every map and hidden state, through eager attention. Whole: the output, through
    sdpa. wavlm-base has its weights in a .bin file."""
    arrays, model = outputs(name), sl.load(GOLDEN / name, framework="flax")
    waveform, lengths, real = (arrays[n] for n in ("waveform", "lengths", "frame_mask"))
    silent = waveform * (np.arange(waveform.shape[1]) < lengths[:, None])
    output, states, maps = nnx.jit(listen)(model, silent, lengths)
    out = arrays["output_mask"].astype(bool)
    assert_close(np.asarray(output)[out], arrays["padded.last"][out], "output")
    for i, state in enumerate(states):
        theirs = arrays[f"padded.hidden.{i}"]
        assert_close(np.asarray(state)[real > 0], theirs[real > 0], f"hidden {i}")
    for i, weights in enumerate(maps):
        weights, theirs = np.asarray(weights), arrays[f"padded.weights.{i}"]
        if theirs.shape[1] == 1:  # the mean of the heads is all that Hugging Face shows of WavLM
            weights = weights.mean(axis=1, keepdims=True)
        rows = np.broadcast_to(real[:, None] > 0, weights.shape[:3])
        assert_close(weights[rows], theirs[rows], f"map {i}")
    whole = nnx.jit(lambda model, waveform: model(waveform))(model, waveform)
    assert_close(whole, arrays["last"], "whole")
    if name == "wav2vec2-large":  # the one that Hugging Face has in Flax too
        with np.load(GOLDEN / "flax.npz") as theirs:
            assert_close(whole, theirs["last"], "FlaxWav2Vec2Model")
            assert_close(np.asarray(output)[out], theirs["padded.last"][out], "FlaxWav2Vec2Model")
            for i, weights in enumerate(maps):
                rows = np.broadcast_to(real[:, None] > 0, weights.shape[:3])
                assert_close(np.asarray(weights)[rows], theirs[f"padded.weights.{i}"][rows])


@pytest.mark.parametrize("name", ["speech-to-text-2-a", "speech-to-text-2-b"])
def test_decoder_equals_transformers(name):
    arrays, model = outputs(name), sl.load(GOLDEN / name, framework="flax")
    real = arrays["token_mask"] > 0

    def write(model, tokens, memory, memory_mask, token_mask):
        with sl.trace(model, "*.weights") as seen:
            return model(tokens, memory, memory_mask, token_mask), seen

    inputs = [arrays[n] for n in ("tokens", "memory", "memory_mask", "token_mask")]
    logits, seen = nnx.jit(write)(model, *inputs)
    assert_close(np.asarray(logits)[real], arrays["logits"][real], "logits")
    assert sorted(seen) == sorted(n for n in arrays if n.endswith(".weights"))
    for path, weights in seen.items():
        rows = np.broadcast_to(real[:, None], weights.shape[:3])
        assert_close(np.asarray(weights)[rows], arrays[path][rows], path)
    alone = nnx.jit(lambda model, tokens, mask=None: model(tokens, token_mask=mask))
    logits = np.asarray(alone(model, arrays["tokens"], arrays["token_mask"]))
    assert_close(logits[real], arrays["logits.alone"][real], "alone")
    assert_close(alone(model, arrays["long"]), arrays["logits.long"], "beyond the table")
    found = sl.generate(model, max_tokens=12, prompt=arrays["prompt"])
    assert found.tokens.tolist() == arrays["greedy"].tolist()


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_speech_encoder_decoders_equal_transformers(name):
    """Padded audio and padded tokens: memory, logits, maps, loss and the greedy text."""
    name = f"speech-encoder-decoder-{name}"
    arrays, model = outputs(name), sl.load(GOLDEN / name, framework="flax")
    waveform, lengths = arrays["wave"], arrays["lengths"]
    real = arrays["token_mask"] > 0

    def everything(model):
        with sl.trace(model, "decoder.*.weights") as seen:
            memory, memory_mask = model.encode(waveform, lengths)
            logits = model.decode(arrays["tokens"], memory, memory_mask, token_mask=real)
        return memory, memory_mask, logits, dict(seen), model.loss(
            waveform, arrays["labels"], lengths
        )

    memory, memory_mask, logits, seen, loss = nnx.jit(everything)(model)
    heard = arrays["memory_mask"] > 0
    assert np.array_equal(memory_mask, heard)
    assert_close(np.asarray(memory)[heard], arrays["memory"][heard], "memory")
    assert_close(np.asarray(logits)[real], arrays["logits"][real], "logits")
    for path, weights in seen.items():
        rows = np.broadcast_to(real[:, None], weights.shape[:3])
        assert_close(np.asarray(weights)[rows], arrays[path][rows], path)
    assert_close(loss, arrays["loss"], "loss")
    found = sl.generate(model, waveform, lengths=lengths, max_tokens=14)
    assert found.tokens.tolist() == arrays["greedy"][:, : found.tokens.shape[1]].tolist()
