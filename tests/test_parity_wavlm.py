"""WavLM and wav2vec 2.0 against Hugging Face: goldens of 4.46.3, and 5.x live as second witness.

Everything within 1e-5 of max(1, largest value), with both attention backends, padded and not.
Hugging Face's maps of WavLM are the mean of the heads: ours are compared by their mean.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from golden_cases import assert_close, folder, outputs
from safetensors.torch import load_file, save_file

import speechlib as sl
from speechlib import checkpoints, spec_augment

torch.set_num_threads(1)
NAMES = ("wavlm-base", "wavlm-large", "wavlm-adapter", "wav2vec2-base", "wav2vec2-large")
BACKENDS = ("eager", "sdpa", "flash")


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def golden(name):
    return outputs(name)


@pytest.fixture(scope="module", params=BACKENDS)
def model(request, name):
    return sl.load(folder(name), attention=request.param)


def given(golden, padded):
    """waveform, lengths or None, prefix of the golden's names, real frames in the blocks"""
    waveform, lengths = torch.tensor(golden["waveform"]), torch.tensor(golden["lengths"])
    if not padded:
        return waveform, None, "", np.ones_like(golden["frame_mask"])
    return waveform, lengths, "padded.", golden["frame_mask"]


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_hidden_states_and_output(model, golden, padded):
    waveform, lengths, prefix, real = given(golden, padded)
    if padded:  # what lies beyond a row's length is silence in the goldens
        waveform = waveform * (torch.arange(waveform.shape[1]) < lengths[:, None])
    states = model.hidden_states(waveform, lengths)
    assert len(states) == model.config.layers + 1
    for i, state in enumerate(states):
        assert_close(state[real], golden[f"{prefix}hidden.{i}"][real], f"hidden state {i}")
    output = model(waveform, lengths)
    kept = golden["output_mask"] if padded else np.ones_like(golden["output_mask"])
    assert_close(output[kept], golden[f"{prefix}last"][kept], "output")
    assert output.shape[2] == model.output_width


@torch.no_grad()
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_every_map(model, golden, padded):
    waveform, lengths, prefix, real = given(golden, padded)
    if padded:
        waveform = waveform * (torch.arange(waveform.shape[1]) < lengths[:, None])
    with sl.trace(model, "*.weights") as seen:
        model(waveform, lengths)
    assert list(seen) == [f"blocks.{i}.self_attention.weights" for i in range(model.config.layers)]
    for i, weights in enumerate(seen.values()):
        theirs = golden[f"{prefix}weights.{i}"]
        if theirs.shape[1] == 1:
            assert (weights - weights[:, :1]).abs().max() > 1e-2  # ours are the true heads
            weights = weights.mean(dim=1, keepdim=True)
        rows = np.broadcast_to(real[:, None, :, None], theirs.shape)
        assert_close(weights.numpy()[rows], theirs[rows], f"weights {i}")


@torch.no_grad()
def test_hidden_states_seen_by_trace(model, golden):
    waveform = torch.tensor(golden["waveform"])
    with sl.trace(model, "*.hidden") as seen:
        states = model.hidden_states(waveform)
    if model.config.block.norm_first:
        states[-1] = seen[f"blocks.{model.config.layers - 1}.hidden"]  # before the last norm
    for i, state in enumerate(states[1:]):
        assert torch.equal(seen[f"blocks.{i}.hidden"], state)


def test_masks_and_lengths(model, golden):
    lengths = golden["lengths"]
    for kind in (lengths, torch.tensor(lengths)):
        for adapter, mask in ((False, golden["frame_mask"]), (True, golden["output_mask"])):
            frames = model.output_lengths(kind, adapter=adapter)
            assert type(frames) is type(kind)
            np.testing.assert_array_equal(np.asarray(frames), mask.sum(axis=1))
            ours = model.frame_mask(kind, mask.shape[1], adapter=adapter)
            np.testing.assert_array_equal(ours.numpy(), mask)
    assert model.frame_mask(None, 7) is None


@torch.no_grad()
def test_hidden_spans_take_the_mask_embedding(name, golden, monkeypatch):
    """SpecAugment by value: the same frames hidden as in the published code."""
    if "spans" not in golden:
        assert name.endswith("large") and not hasattr(sl.load(folder(name)), "mask_embedding")
        return
    model = without_dropout(sl.load(folder(name)))
    monkeypatch.setattr(spec_augment, "span_mask", lambda *given: golden["spans"])
    output = model.train()(golden["waveform"])
    assert_close(output, golden["spans.last"], "output with hidden spans")
    assert np.abs(golden["spans.last"] - golden["last"]).max() > 0.1


def without_dropout(model):
    """A model that computes in train() what it computes in eval(), but for SpecAugment."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for wish in ("dropout", "layer_drop"):
            if isinstance(getattr(module, wish, None), float):
                setattr(module, wish, 0.0)
    object.__setattr__(model.config, "layer_drop", 0.0)
    return model


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(name, tmp_path):
    """A golden checkpoint that a test may spoil, its tensors in model.safetensors."""
    shutil.copy(folder(name) / "config.json", tmp_path)
    tensors = torch_tensors(name)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    return tmp_path, tensors


def torch_tensors(name):
    file = folder(name) / "pytorch_model.bin"
    if file.is_file():
        return {n: t.clone() for n, t in torch.load(file, weights_only=True).items()}
    return load_file(folder(name) / "model.safetensors")


def write(path, tensors):
    save_file(tensors, path / "model.safetensors", {"format": "pt"})


@torch.no_grad()
def assert_same_numbers(path, golden, tolerance=1e-5):
    ours = sl.load(path)
    assert_close(ours(golden["waveform"]), golden["last"], "output", tolerance)
    return ours


def test_both_kinds_of_weight_norm_names(copy, golden):
    path, tensors = copy
    old = {".weight_g": "original0", ".weight_v": "original1"}
    for _ in range(2):  # first as it is, then turned
        assert_same_numbers(path, golden)
        turned = {}
        for name, tensor in tensors.items():
            for ending, new in old.items():
                new = f".parametrizations.weight.{new}"
                if name.endswith(ending):
                    name = name.removesuffix(ending) + new
                elif name.endswith(new):
                    name = name.removesuffix(new) + ending
            turned[name] = tensor.clone()
        assert turned.keys() != tensors.keys()
        write(path, turned)
    both = tensors | turned
    write(path, both)
    with pytest.raises(ValueError, match="no place for: .*pos_conv_embed"):
        sl.load(path)


def test_the_prefix_of_a_larger_model_may_stay(copy, golden, name):
    path, tensors = copy
    prefix = name.partition("-")[0] + "."
    write(path, {prefix + n: t for n, t in tensors.items()})
    assert_same_numbers(path, golden)


def test_architecture_from_model_type(copy, golden):
    path, _ = copy
    config = json.loads((path / "config.json").read_text())
    config.pop("architectures")
    (path / "config.json").write_text(json.dumps(config))
    assert_same_numbers(path, golden)


def test_mask_embedding_absent_and_needless(copy, golden, name):
    path, tensors = copy
    stored = tensors.pop("masked_spec_embed", None)
    if stored is not None:  # several released checkpoints lack it
        write(path, tensors)
        made = assert_same_numbers(path, golden).mask_embedding
        assert 0 <= made.min() and made.max() <= 1 and made.std() > 0.1
    else:  # or store it although the config never masks
        write(path, tensors | {"masked_spec_embed": torch.ones(24)})
        assert not hasattr(assert_same_numbers(path, golden), "mask_embedding")


def test_every_tensor_is_needed_and_all_misfits_are_listed(copy, name):
    path, tensors = copy
    for missing in list(tensors)[::5]:
        if missing != "masked_spec_embed":
            write(path, {n: t for n, t in tensors.items() if n != missing})
            shown = missing.replace("weight_g", "parametrizations.weight.original0")
            shown = shown.replace("weight_v", "parametrizations.weight.original1")
            with pytest.raises(ValueError, match=shown.replace(".", r"\.")):
                sl.load(path)
    tensors.pop("feature_projection.projection.bias")
    tensors["encoder.layers.9.attention.q_proj.bias"] = torch.ones(24)
    tensors["encoder.layer_norm.weight"] = torch.ones(23)
    tensors["lm_head.weight"] = torch.ones(3, 24)
    write(path, tensors)
    with pytest.raises(ValueError) as error:
        sl.load(path)
    for part in (
        "feature_projection.projection.bias",
        "encoder.layers.9.attention.q_proj.bias",
        "encoder.layer_norm.weight: (23,), expected (24,)",
        "lm_head.weight",
    ):
        assert part in str(error.value)


def test_distances_belong_to_wavlm_alone(copy, name):
    path, tensors = copy
    config = json.loads((path / "config.json").read_text())
    other = {"wavlm": "wav2vec2", "wav2vec2": "wavlm"}[config["model_type"]]
    architecture = {"wavlm": "WavLMModel", "wav2vec2": "Wav2Vec2Model"}[other]
    config |= {"model_type": other, "architectures": [architecture]}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="gru_rel_pos_linear"):
        sl.load(path)


def test_save_then_load_is_the_same_model(model, name, golden, tmp_path):
    sl.save(model, tmp_path)
    again = sl.load(tmp_path, attention=model.config.block.attention)
    assert again.config == model.config
    mine, theirs = dict(again.named_parameters()), dict(model.named_parameters())
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)
    before = json.loads((folder(name) / "config.json").read_text())
    after = json.loads((tmp_path / "config.json").read_text())
    assert not {k: v for k, v in before.items() if after.get(k, "absent") != v}


def test_a_fresh_model_is_saved_and_read(model, name, tmp_path):
    fresh = sl.WavLM(model.config).eval()
    sl.save(fresh, tmp_path)
    again = sl.load(tmp_path, attention=model.config.block.attention)
    assert again.config == fresh.config
    waveform = torch.randn(2, 400)
    with torch.no_grad():
        assert torch.equal(again(waveform), fresh(waveform))
    kind = json.loads((tmp_path / "config.json").read_text())["architectures"]
    assert kind == [{"wavlm": "WavLMModel", "wav2v": "Wav2Vec2Model"}[name[:5]]]


def test_every_name_is_turned_and_turned_back(name):
    kind = checkpoints.open_checkpoint(folder(name)).kind
    for parameter, _ in sl.load(folder(name)).named_parameters():
        theirs = checkpoints.their_name(parameter, kind)
        assert checkpoints.place_of(theirs, kind) == parameter


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-5), ("bfloat16", 0.1)])
@torch.no_grad()
def test_number_types(name, golden, dtype, tolerance):
    ours = sl.load(folder(name), dtype=dtype)
    output = ours(golden["waveform"], golden["lengths"])
    real = ours.frame_mask(golden["lengths"], output.shape[1])
    expected = sl.load(folder(name))(golden["waveform"], golden["lengths"])
    assert_close(output[real].float(), expected[real], dtype, tolerance)


# --- transformers 5.x, live ----------------------------------------------------------------------

KINDS = [
    dict(),
    dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True),
    dict(feat_extract_norm="layer", num_attention_heads=3, hidden_act="relu"),
    dict(do_stable_layer_norm=True, num_buckets=320, max_bucket_distance=800),
    dict(add_adapter=True, output_hidden_size=20, num_adapter_layers=1, adapter_stride=3),
    dict(add_adapter=True, layer_norm_eps=1e-3, feat_extract_activation="relu"),
]


@pytest.fixture(scope="module", params=range(2 * len(KINDS)), ids=lambda n: f"kind{n}")
def live(request, tmp_path_factory):
    """A random checkpoint that transformers 5.x wrote, and its model."""
    transformers = pytest.importorskip("transformers")
    settings = dict(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=20,
        conv_dim=[12, 10], conv_kernel=[10, 3], conv_stride=[5, 2], num_conv_pos_embeddings=7,
        num_conv_pos_embedding_groups=4, hidden_dropout=0.0, activation_dropout=0.0,
        attention_dropout=0.0, feat_proj_dropout=0.0, layerdrop=0.0, mask_time_prob=0.0,
    ) | KINDS[request.param // 2]  # fmt: skip
    torch.manual_seed(request.param)
    if request.param % 2:
        settings = {k: v for k, v in settings.items() if "bucket" not in k}
        theirs = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**settings))
    else:
        settings = dict(num_buckets=12, max_bucket_distance=20) | settings
        theirs = transformers.WavLMModel(transformers.WavLMConfig(**settings))
    for parameter in theirs.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("live")
    theirs.eval().save_pretrained(path)
    return theirs, path, torch.randn(3, 300), torch.tensor([300, 151, 40])


@torch.no_grad()
@pytest.mark.parametrize("backend", BACKENDS)
def test_live_output(live, backend):
    theirs, path, waveform, lengths = live
    ours = sl.load(path, attention=backend)
    assert_close(ours(waveform), theirs(waveform).last_hidden_state, "whole")
    mask = torch.arange(300) < lengths[:, None]
    waveform = waveform * mask
    expected = theirs(waveform, attention_mask=mask.long()).last_hidden_state
    output = ours(waveform, lengths)
    real = ours.frame_mask(lengths, output.shape[1])
    assert_close(output[real], expected[real], "padded")


def test_live_gradients(live):
    """Every parameter learns the same, in train() with all chance switched off."""
    theirs, path, waveform, lengths = live
    ours = sl.load(path).train()
    mask = torch.arange(300) < lengths[:, None]
    torch.manual_seed(3)
    target = torch.randn_like(ours(waveform * mask, lengths))
    real = ours.frame_mask(lengths, target.shape[1])
    (ours(waveform * mask, lengths) * target)[real].sum().backward()
    output = theirs.train()(waveform * mask, attention_mask=mask.long()).last_hidden_state
    theirs.zero_grad()
    (output * target)[real].sum().backward()
    theirs.eval()
    gradients = {n: p.grad for n, p in theirs.named_parameters()}
    kind = checkpoints.open_checkpoint(path).kind
    for name, parameter in ours.named_parameters():
        assert_close(parameter.grad, gradients[checkpoints.their_name(name, kind)], name)


@torch.no_grad()
def test_transformers_reads_what_we_save(live, tmp_path):
    theirs, path, waveform, _ = live
    sl.save(sl.load(path), tmp_path)
    again, report = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    expected = theirs(waveform).last_hidden_state
    assert_close(again.eval()(waveform).last_hidden_state, expected, "after our save")
