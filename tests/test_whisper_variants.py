"""Whisper's decoder alone and its encoder as a listener: goldens of transformers 4.46.3, 5.x live.

Also what training adds: checkpointing, freezing, half precision.
"""

import math

import numpy as np
import pytest
import torch
from golden_cases import NAMES, assert_close, folder, inputs, outputs

import speechlib as sl
from speechlib import configs
from speechlib.torch_models import whisper

torch.set_num_threads(1)
BACKENDS = ("eager", "sdpa", "flash")
WAYS = ("alone", "hearing")


@pytest.fixture(scope="module")
def golden():
    return {n: torch.from_numpy(x) for n, x in outputs("whisper-decoder").items() if x.ndim}


@pytest.fixture(scope="module", params=BACKENDS)
def decoder(request):
    return sl.load(folder("whisper-decoder"), attention=request.param)


def heard(golden, way):
    return golden["memory"] if way == "hearing" else None


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_decoder_logits_and_maps(decoder, golden, way):
    assert isinstance(decoder, sl.WhisperDecoder)
    tokens, mask, memory = golden["tokens"], golden["token_mask"].bool(), heard(golden, way)
    assert_close(decoder(tokens, memory), golden[f"{way}.logits"], way)
    padded = decoder(tokens, memory, token_mask=mask)
    assert_close(padded[mask], golden[f"{way}.padded"][mask], f"{way}, padded")
    with sl.trace(decoder, "*.weights") as seen:
        decoder(tokens, memory)
    expected = {n.removeprefix(f"{way}.") for n in golden if n.startswith(f"{way}.blocks.")}
    assert set(seen) == expected
    for path, weights in seen.items():
        assert_close(weights, golden[f"{way}.{path}"], f"{way}, {path}")


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_decoder_heads_switched_off(decoder, golden, way):
    edit = {}
    kinds = ("self", "cross") if way == "hearing" else ("self",)
    for kind, heads in zip(kinds, golden["heads"], strict=False):
        for layer, keep in enumerate(heads):
            keep = keep.float()[:, None, None]
            edit[f"blocks.{layer}.{kind}_attention.weights"] = lambda w, keep=keep: w * keep
    with sl.trace(decoder, "nothing", edit=edit):
        logits = decoder(golden["tokens"], heard(golden, way))
    assert_close(logits, golden[f"{way}.ablated"], way)
    assert (logits - golden[f"{way}.logits"]).abs().max() > 1e-2


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_decoder_generates(decoder, golden, way, cache):
    expected = golden[f"{way}.greedy"]
    for row, said in enumerate(expected):
        prompt, memory = said[None, :2], heard(golden, way)
        memory = None if memory is None else memory[row : row + 1]
        found = sl.generate(decoder, memory, max_tokens=10, prompt=prompt, rules=[], cache=cache)
        found = found.tokens[0]
        assert found.tolist() == said[: len(found)].tolist()
        assert len(found) == len(said) or found[-1] == decoder.config.end


def test_decoder_saves_and_loads(decoder, golden, tmp_path):
    sl.save(decoder, tmp_path)
    with torch.no_grad():
        again = sl.load(tmp_path)(golden["tokens"], golden["memory"])
    assert_close(again, golden["hearing.logits"], "load(save(m))")


@torch.no_grad()
def test_transformers_reads_the_decoder_we_save(golden, tmp_path):
    transformers = pytest.importorskip("transformers")
    sl.save(sl.load(folder("whisper-decoder")), tmp_path)
    theirs = transformers.WhisperForCausalLM.from_pretrained(tmp_path).eval()
    found = theirs(golden["tokens"], encoder_outputs=(golden["memory"],)).logits
    assert_close(found, golden["hearing.logits"], "5.x")


@torch.no_grad()
def test_a_fresh_decoder():
    torch.manual_seed(0)
    model = sl.WhisperDecoder(small_config())
    assert abs(model.token_embedding.weight.std() - 0.02) < 0.003
    logits = model(torch.tensor([[1, 2, 3]]))
    assert logits.shape == (1, 3, 40) and abs(logits.std() - 0.02 * math.sqrt(16)) < 0.05


# --- the encoder as a listener ------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_hidden_states_of_every_layer(name):
    encoder = sl.load(folder(name)).encoder
    mel = inputs(outputs(name))[0][:1]
    with np.load(folder("whisper_listener.npz")) as states:
        expected = [states[f"{name}.{layer}"] for layer in range(len(encoder.blocks) + 1)]
    ours = encoder.hidden_states(mel)
    for layer, (one, theirs) in enumerate(zip(ours, expected, strict=True)):
        assert_close(one, theirs, f"layer {layer}")
    assert_close(encoder(mel), expected[-1], "the last one is the output")
    lengths = torch.tensor([mel.shape[2] - 3])
    assert_close(encoder(mel, lengths), expected[-1], "lengths say what is real, no more")


def test_which_frames_are_real():
    encoder = whisper.AudioEncoder(small_config())
    assert encoder.output_width == 16
    for mel_frames, frames in [(1, 1), (2, 1), (3, 2), (23, 12), (24, 12)]:
        assert encoder.output_lengths(mel_frames) == frames
        convolved = encoder.conv2(torch.zeros(1, 16, mel_frames)).shape[2]
        assert convolved == frames
    mask = encoder.frame_mask(torch.tensor([24, 5, 1]), 12)
    assert mask.sum(dim=1).tolist() == [12, 3, 1] and mask[1, :3].all()
    assert encoder.frame_mask(None, 12) is None
    mel = torch.zeros(2, 8, 24)
    with pytest.raises(ValueError, match="1 to 24"):
        encoder(mel, torch.tensor([25, 1]))
    with pytest.raises(ValueError, match="one for each row"):
        encoder(mel, torch.tensor([24]))


# --- training -----------------------------------------------------------------------------------


def small_config(**changes):
    sizes = dict(width=16, heads=4, feed_forward=24, key_bias=False)
    chances = {n: changes.pop(n) for n in ("dropout", "attention_dropout") if n in changes}
    return configs.WhisperConfig(
        encoder=configs.BlockConfig(**sizes, **chances),
        decoder=configs.BlockConfig(**sizes, **chances, cross_attention=True),
        encoder_layers=3, decoder_layers=2, vocabulary=40, mel_bins=8, frames=12, slots=10,
        pad=0, start=1, end=2, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("chances", [{}, dict(dropout=0.3, attention_dropout=0.2)])
def test_checkpointed_gradients_are_equal(chances):
    torch.manual_seed(0)
    model = sl.Whisper(small_config(**chances)).train()
    mel, labels = torch.randn(2, 8, 24), torch.randint(3, 40, (2, 6))
    runs, kept = [], []
    for checkpointing in (False, True):
        model.encoder.checkpointing = model.decoder.checkpointing = checkpointing
        model.zero_grad()
        torch.manual_seed(5)
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=saved: s.append(x) or x,
                                                      lambda x: x):  # fmt: skip
            loss = model.loss(mel, labels)
        loss.backward()
        runs.append({n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad})
        kept.append(sum(x.numel() for x in saved))
    for name, gradient in runs[0].items():
        assert_close(runs[1][name], gradient, name, 1e-6)
    assert kept[1] < kept[0] / 2  # or it was for nothing


def test_checkpointing_is_for_training_only(monkeypatch):
    from speechlib.torch_models import transformer

    def refuse(*_, **__):
        raise AssertionError("checkpointed outside of training")

    model = sl.Whisper(small_config()).eval()
    model.encoder.checkpointing = True
    monkeypatch.setattr(transformer, "checkpoint", refuse)
    assert model.encode(torch.randn(1, 8, 24)).shape == (1, 12, 16)
    with pytest.raises(AssertionError, match="outside"):
        model.train().encode(torch.randn(1, 8, 24))


def test_freeze_encoder():
    model = sl.Whisper(small_config())
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    model.freeze_encoder()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.5)
    model.loss(torch.randn(2, 8, 24), torch.randint(3, 40, (2, 6))).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == name.startswith("decoder."), name


@torch.no_grad()
def test_float16_is_cut_off_before_infinity():
    """As published: the encoder's values beyond float16 become the largest number less 1000."""
    torch.manual_seed(0)
    encoder = whisper.Whisper(small_config()).encoder.half().eval()
    encoder.blocks[0].feed_forward.down.bias.fill_(60000.0)
    encoder.positions.weight.fill_(30000.0)  # 30000 + 60000 is too much
    limit = torch.finfo(torch.float16).max - 1000
    states = encoder.hidden_states(torch.zeros(1, 8, 24).half())
    assert (states[1] == limit).all() and torch.isfinite(states[-1]).all()
    encoder.float()
    assert (encoder.hidden_states(torch.zeros(1, 8, 24))[1] > limit).all()  # float32: untouched
