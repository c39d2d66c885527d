"""Speech2Text2 against Hugging Face: goldens of transformers 4.46.3, the last that runs it.

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
NAMES = ("speech-to-text-2-a", "speech-to-text-2-b")


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
    """tokens, token mask, memory, memory mask"""
    tokens, memory = (torch.from_numpy(golden[n]) for n in ("tokens", "memory"))
    masks = (torch.from_numpy(golden[n]).bool() for n in ("token_mask", "memory_mask"))
    return tokens, next(masks), memory, next(masks)


@torch.no_grad()
def test_logits(model, golden):
    tokens, real, memory, heard = given(golden)
    assert_close(model(tokens, memory), golden["logits.no_masks"], "without masks")
    assert_close(model(tokens, memory, heard), golden["logits.no_token_mask"], "memory mask")
    logits = model(tokens, memory, heard, real)
    assert torch.isfinite(logits).all()
    assert_close(logits[real], golden["logits"][real.numpy()], "both masks")
    alone = model(tokens, token_mask=real)
    assert_close(alone[real], golden["logits.alone"][real.numpy()], "a language model")


@torch.no_grad()
def test_masks_do_something(model, golden):
    tokens, real, memory, heard = given(golden)
    logits = model(tokens, memory, heard, real)
    for fewer in (model(tokens, memory, heard), model(tokens, memory, token_mask=real)):
        assert (logits - fewer)[real].abs().max() > 1e-2


@torch.no_grad()
def test_every_map_and_hidden_state(model, golden):
    tokens, real, memory, heard = given(golden)
    with sl.trace(model, "*") as seen:
        model(tokens, memory, heard, real)
    assert set(seen) == {n for n in golden if n.endswith((".weights", ".hidden"))}
    for path, value in seen.items():
        rows = real if path.endswith("hidden") else real[:, None, :, None].expand(value.shape)
        assert_close(value[rows], golden[path][rows.numpy()], path)


@torch.no_grad()
def test_texts_longer_than_the_table(model, golden):
    """Rows that the table lacks are built on the way; the stored table stays what it is."""
    tokens = torch.from_numpy(golden["long"])
    before = model.positions.table.clone()
    assert_close(model(tokens), golden["logits.long"], "long")
    assert torch.equal(model.positions.table, before)


@pytest.mark.parametrize("cache", [True, False])
def test_greedy_and_beam_texts_from_padded_prompts(model, golden, cache):
    prompt = torch.from_numpy(golden["prompt"])
    found = sl.generate(model, prompt=prompt, max_tokens=12, cache=cache)
    np.testing.assert_array_equal(found.tokens.numpy(), golden["greedy"])
    found = sl.generate(
        model, prompt=prompt, max_tokens=9, beams=3, length_penalty=0.7, early_stopping=True,
        cache=cache,
    )  # fmt: skip
    width = golden["beams"].shape[1]
    np.testing.assert_array_equal(found.tokens[:, :width].numpy(), golden["beams"])
    assert (found.tokens[:, width:] == model.config.pad).all()
    assert_close(found.scores, golden["beams.scores"], "scores")


@torch.no_grad()
def test_cached_steps_over_padding(model, golden):
    """Positions go on from the real tokens before; 4.46.3 counts padding there, and so differs
    from its own uncached path."""
    tokens, real, memory, heard = given(golden)
    cache = model.init_cache(len(tokens), tokens.shape[1], memory, heard)
    parts = []
    for start, end in ((0, 3), (3, 4), (4, 8), (8, 9)):
        parts.append(model(tokens[:, start:end], token_mask=real[:, :end], cache=cache))
    assert_close(torch.cat(parts, 1)[real], golden["logits"][real.numpy()], "in four parts")


@pytest.mark.parametrize("prefix", ["decoder.", "model.decoder."])
def test_prefix_tied_head_and_table(golden, name, prefix, tmp_path):
    """With and without `model.` in front, a second copy of the head, no sinusoid table, .bin."""
    from safetensors.torch import load_file

    shutil.copytree(folder(name), tmp_path / "m")
    tensors = load_file(tmp_path / "m" / "model.safetensors")
    (tmp_path / "m" / "model.safetensors").unlink()
    tensors = {prefix + k.removeprefix("model.decoder."): v for k, v in tensors.items()}
    del tensors[f"{prefix}embed_positions.weights"]
    tensors["lm_head.weight"] = tensors[f"{prefix}embed_tokens.weight"].clone()
    torch.save(tensors, tmp_path / "m" / "pytorch_model.bin")
    tokens, real, memory, heard = given(golden)
    with torch.no_grad():
        logits = sl.load(tmp_path / "m")(tokens, memory, heard, real)
    assert_close(logits[real], golden["logits"][real.numpy()], "logits")
    tensors["lm_head.weight"] += 1
    torch.save(tensors, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="lm_head.weight: differs from .*embed_tokens"):
        sl.load(tmp_path / "m")


def test_saved_names_are_the_loaded_names(golden, name, tmp_path):
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
    assert original.items() <= config.items()
