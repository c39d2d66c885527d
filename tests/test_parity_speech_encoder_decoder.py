"""SpeechEncoderDecoder against Hugging Face: goldens of transformers 4.46.3, the last that joins
WavLM or wav2vec 2.0 with Speech2Text2.

Everything within 1e-5 of max(1, largest value), with every attention backend, padded and not.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from golden_cases import assert_close, folder, outputs

import speechlib as sl
from speechlib.torch_models.attention import BACKENDS

torch.set_num_threads(1)
NAMES = tuple(f"speech-encoder-decoder-{letter}" for letter in "abc")


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def golden(name):
    return outputs(name)


@pytest.fixture(scope="module", params=list(BACKENDS))
def model(request, name):
    return sl.load(folder(name), attention=request.param)


def given(golden):
    """waveform, lengths, tokens, token mask, labels"""
    names = ("wave", "lengths", "tokens", "token_mask", "labels")
    wave, lengths, tokens, real, labels = (torch.from_numpy(golden[n]) for n in names)
    return wave, lengths, tokens, real.bool(), labels


def test_the_bridge_stands_where_it_must(name):
    bridge = sl.load(folder(name)).bridge
    assert (bridge is None) == (name[-1] != "a")
    if bridge is not None:
        assert (bridge.in_features, bridge.out_features) == (20, 16)


@torch.no_grad()
def test_memory_and_logits(model, golden):
    wave, lengths, tokens, real, _ = given(golden)
    memory, heard = model.encode(wave, lengths)
    np.testing.assert_array_equal(heard.numpy(), golden["memory_mask"])
    assert_close(memory[heard], golden["memory"][heard.numpy()], "memory")
    logits = model(wave, tokens, lengths, real)
    assert torch.isfinite(logits).all()
    assert_close(logits[real], golden["logits"][real.numpy()], "logits")
    assert_close(model(wave, tokens), golden["logits.unpadded"], "without lengths")
    assert model.encode(wave)[1] is None
    again = model.decode(tokens, memory, heard, token_mask=real)
    assert_close(again[real], golden["logits"][real.numpy()], "from a memory made before")


@torch.no_grad()
def test_every_map_and_hidden_state(model, golden):
    wave, lengths, tokens, real, _ = given(golden)
    with sl.trace(model, "decoder.*") as seen:
        model(wave, tokens, lengths, real)
    assert set(seen) == {n for n in golden if n.startswith("decoder.")}
    for path, value in seen.items():
        rows = real if path.endswith("hidden") else real[:, None, :, None].expand(value.shape)
        assert_close(value[rows], golden[path][rows.numpy()], path)
    with sl.trace(model, "encoder.*.self_attention.weights") as seen:
        model.encode(wave, lengths)
    assert list(seen) == [
        f"encoder.blocks.{i}.self_attention.weights" for i in range(len(model.encoder.blocks))
    ]


def test_loss(model, golden):
    wave, lengths, _, _, labels = given(golden)
    assert_close(model.loss(wave, labels, lengths), golden["loss"], "loss")
    assert_close(model.loss(wave, labels), golden["loss.unpadded"], "loss without lengths")


@pytest.mark.parametrize("cache", [True, False])
def test_greedy_texts(model, golden, cache):
    wave, lengths, *_ = given(golden)
    found = sl.generate(model, wave, lengths=lengths, max_tokens=14, cache=cache)
    np.testing.assert_array_equal(found.tokens.numpy(), golden["greedy"])
    found = sl.generate(model, wave, max_tokens=14, cache=cache)
    np.testing.assert_array_equal(found.tokens.numpy(), golden["greedy.unpadded"])


def test_beam_texts(model, golden):
    wave, lengths, *_ = given(golden)
    ways = [key.split(".", 1)[1] for key in golden if key.startswith("beams.")]
    assert len(ways) == 12
    for way in ways:
        penalty, _, early = way.rpartition(".")
        early = {"True": True, "False": False}.get(early, early)
        found = sl.generate(
            model, wave, lengths=lengths, max_tokens=8, beams=3, length_penalty=float(penalty),
            early_stopping=early,
        )  # fmt: skip
        np.testing.assert_array_equal(found.tokens.numpy(), golden[f"beams.{way}"], err_msg=way)
        assert_close(found.scores, golden[f"scores.{way}"], f"scores {way}")


@torch.no_grad()
def test_texts_go_on_beyond_the_table(golden, name):
    """4.46.3 stops here with an IndexError; position tables have no end in this package."""
    model = sl.load(folder(name))
    wave, lengths, *_ = given(golden)
    found = sl.generate(model, wave, lengths=lengths, max_tokens=30, rules=[]).tokens
    slow = sl.generate(model, wave, lengths=lengths, max_tokens=30, rules=[], cache=False).tokens
    assert torch.equal(found, slow) and len(model.decoder.positions.table) == 16


@torch.no_grad()
def test_old_weight_norm_names_missing_tables_and_bin(golden, name, tmp_path):
    from safetensors.torch import load_file

    shutil.copytree(folder(name), tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    (tmp_path / "m" / "model.safetensors").unlink()
    new_names = (".parametrizations.weight.original0", ".parametrizations.weight.original1")
    for new, old in zip(new_names, (".weight_g", ".weight_v"), strict=True):
        tensors = {key.replace(new, old): value for key, value in tensors.items()}
    assert any(key.endswith(".weight_v") for key in tensors)
    del tensors["decoder.model.decoder.embed_positions.weights"]
    tensors.pop("encoder.masked_spec_embed", None)
    tensors["decoder.lm_head.weight"] = tensors["decoder.model.decoder.embed_tokens.weight"]
    torch.save(tensors, tmp_path / "m" / "pytorch_model.bin")
    wave, lengths, tokens, real, _ = given(golden)
    logits = sl.load(tmp_path / "m")(wave, tokens, lengths, real)
    assert_close(logits[real], golden["logits"][real.numpy()], "logits")


def test_saved_names_are_the_loaded_names(name, tmp_path):
    """So transformers 4.46.3 reads it back; names, shapes and values are all it looks at."""
    from safetensors.torch import load_file

    sl.save(sl.load(folder(name)), tmp_path)
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path, folder(name)))
    assert set(ours) == set(theirs)
    for key in ours:
        assert torch.equal(ours[key], theirs[key]), key
    config, original = (
        json.loads((f / "config.json").read_text()) for f in (tmp_path, folder(name))
    )
    for part in ("encoder", "decoder"):
        assert original.pop(part).items() <= config.pop(part).items()
    assert original.items() <= config.items()
