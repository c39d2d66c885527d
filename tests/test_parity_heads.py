"""Heads against Hugging Face: goldens of transformers 4.46.3, and 5.x live as second witness.

Logits, losses, embeddings and gradients within 1e-5 of max(1, largest value), padded and not.
"""

import json
import shutil

import pytest
import torch
from golden_cases import GOLDEN, assert_close, outputs

import speechlib as sl
from speechlib import checkpoints
from speechlib.configs import CTCConfig, HeadConfig, XVectorConfig

torch.set_num_threads(1)
NAMES = (
    *("wavlm-ctc", "wav2vec2-ctc", "wavlm-sequence", "wav2vec2-frame"),
    *("wavlm-xvector", "wav2vec2-xvector"),
)


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def golden(name):
    return outputs(f"heads/{name}")


@pytest.fixture(scope="module", params=["eager", "sdpa", "flash"])
def model(request, name):
    return sl.load(GOLDEN / "heads" / name, attention=request.param)


def inputs_of(golden, tag):
    """(waveform, lengths or None): whole rows, or rows of three lengths, zeros after them."""
    wave = torch.from_numpy(golden["wave"])
    if tag == "full":
        return wave, None
    lengths = torch.from_numpy(golden["lengths"])
    return wave * (torch.arange(wave.shape[1]) < lengths[:, None]), lengths


@torch.no_grad()
@pytest.mark.parametrize("tag", ["full", "padded"])
def test_logits_and_embeddings(model, golden, tag):
    wave, lengths = inputs_of(golden, tag)
    logits, expected = model(wave, lengths), golden[f"{tag}.logits"]
    if logits.dim() == 3 and lengths is not None:
        real = model.encoder.frame_mask(lengths, logits.shape[1])
        assert 0 < real.sum() < real.numel()
        logits, expected = logits[real], expected[real.numpy()]
    assert_close(logits, expected, "logits")
    if isinstance(model, sl.XVector):
        assert_close(model.embed(wave, lengths), golden[f"{tag}.embedding"], "embedding")


@pytest.mark.parametrize("tag", ["full", "padded"])
def test_losses_and_gradients(model, golden, tag):
    wave, lengths = inputs_of(golden, tag)
    model.zero_grad()
    loss = model.loss(wave, torch.from_numpy(golden["labels"]), lengths)
    assert_close(loss, golden[f"{tag}.loss"], "loss")
    loss.backward()
    parameters, compared = dict(model.named_parameters()), 0
    for key, expected in golden.items():
        if key.startswith(f"{tag}.gradient."):
            ours = checkpoints.place_of(key.split(".", 2)[2], model.checkpoint.kind)
            assert_close(parameters[ours].grad, expected, key)
            compared += 1
    head = [n for n in parameters if not n.startswith("encoder.")]
    assert compared == len(head)


def test_labels_of_frames_are_numbers_too():
    """(batch, frames) and one-hot are the same; -100 leaves frames out."""
    golden, model = outputs("heads/wav2vec2-frame"), sl.load(GOLDEN / "heads" / "wav2vec2-frame")
    wave, lengths = inputs_of(golden, "padded")
    one_hot = torch.from_numpy(golden["labels"])
    labels = one_hot.argmax(-1)
    assert_close(model.loss(wave, labels, lengths), golden["padded.loss"], "numbers")
    assert_close(model.loss(wave, one_hot.float(), lengths), golden["padded.loss"], "one-hot")
    real = model.encoder.frame_mask(lengths, labels.shape[1])
    logits = model(wave, lengths)[real]
    expected = torch.nn.functional.cross_entropy(logits, labels[real])
    ours = model.loss(wave, labels.masked_fill(~real, -100), lengths)
    torch.testing.assert_close(ours, expected)


def test_whisper_classification():
    name = "heads/whisper-sequence"
    golden, model = outputs(name), sl.load(GOLDEN / name)
    mel, labels = torch.from_numpy(golden["mel"]), golden["labels"]
    assert_close(model(mel), golden["full.logits"], "logits")
    loss = model.loss(mel, labels)
    assert_close(loss, golden["full.loss"], "loss")
    loss.backward()
    for name in ("layer_weights", "projector.weight", "classifier.bias"):
        gradient = model.get_parameter(name).grad
        assert_close(gradient, golden[f"full.gradient.{name}"], name)
    # with lengths, which Hugging Face has not, the mean is over real frames
    lengths = torch.tensor([30, 17, 8])
    states = torch.stack(model.encoder.hidden_states(mel))
    states = (states * model.layer_weights.softmax(0)[:, None, None, None]).sum(0)
    mean = torch.stack([states[0, :15].mean(0), states[1, :9].mean(0), states[2, :4].mean(0)])
    assert_close(model(mel, lengths), model.classifier(model.projector(mean)), "real frames")


# --- transformers 5.x, live ---------------------------------------------------------------------

LISTENER = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20,
    conv_dim=(8, 10), conv_kernel=(10, 3), conv_stride=(5, 3), num_conv_pos_embeddings=7,
    num_conv_pos_embedding_groups=4, mask_time_length=2,
)  # fmt: skip
HEADS = {
    "ForCTC": dict(vocab_size=13, pad_token_id=4),
    "ForSequenceClassification": dict(num_labels=4, use_weighted_layer_sum=True),
    "ForAudioFrameClassification": dict(num_labels=2),
    "ForXVector": dict(
        num_labels=3, tdnn_dim=(6, 9), tdnn_kernel=(4, 1), tdnn_dilation=(2, 1),
        xvector_output_dim=11, classifier_proj_size=5,
    ),  # fmt: skip
}


def theirs_of(system, head, seed=0, **settings):
    """A random model of transformers 5.x, every parameter with an effect."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    config = getattr(transformers, f"{system}Config")(**LISTENER | HEADS[head] | settings)
    config._attn_implementation = "eager"
    theirs = getattr(transformers, system + head)(config).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return theirs


@torch.no_grad()
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("system", ["WavLM", "Wav2Vec2"])
@pytest.mark.parametrize("old_format", [False, True])
def test_live(system, head, old_format, tmp_path):
    theirs = theirs_of(system, head)
    theirs.save_pretrained(tmp_path)
    if old_format:  # a pickle, with names from before PyTorch 2.1
        from safetensors.torch import load_file

        renamed = {"original0": "weight_g", "original1": "weight_v"}
        tensors = load_file(tmp_path / "model.safetensors")
        for new, old in renamed.items():
            tensors = {
                k.replace(f"parametrizations.weight.{new}", old): v for k, v in tensors.items()
            }
        torch.save(tensors, tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    ours = sl.load(tmp_path)
    wave, lengths = torch.randn(3, 400), torch.tensor([400, 321, 250])
    mask = torch.arange(400) < lengths[:, None]
    for batch, given, attention_mask in ((wave, None, None), (wave * mask, lengths, mask.long())):
        expected = theirs(batch, attention_mask=attention_mask)
        if hasattr(expected, "embeddings"):
            assert_close(ours.embed(batch, given), expected.embeddings, "embeddings")
        logits, expected = ours(batch, given), expected.logits
        if logits.dim() == 3 and given is not None:
            real = ours.encoder.frame_mask(lengths, logits.shape[1])
            logits, expected = logits[real], expected[real]
        assert_close(logits, expected, "logits")


@torch.no_grad()
def test_transformers_reads_what_we_save(model, golden, name, tmp_path):
    transformers = pytest.importorskip("transformers")
    sl.save(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    again, report = getattr(transformers, config["architectures"][0]).from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    wave = torch.from_numpy(golden["wave"])
    if name != "wavlm-sequence":  # 5.x sums layers before the last norm
        assert_close(again.eval()(wave).logits, golden["full.logits"], "logits after our save")
    ours = sl.load(tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    assert_close(ours(wave), golden["full.logits"], "our logits after our save")


# --- fresh heads, over any listener -------------------------------------------------------------


class Listener(torch.nn.Module):
    """The least that a head needs: one frame of every 10 samples."""

    def __init__(self, width=6, layers=2, adapter=False):
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(layers))
        self.config = type("Config", (), dict(width=width, init_std=0.1, adapter=adapter))()
        self.output_width = width

    def hidden_states(self, wave, lengths=None):
        states = [wave.unflatten(1, (-1, 10))[..., : self.output_width]]
        for block in self.blocks:
            states.append(block(states[-1]).tanh())
        return states

    def forward(self, wave, lengths=None):
        return self.hidden_states(wave, lengths)[-1]

    def output_lengths(self, lengths):
        return lengths // 10

    def frame_mask(self, lengths, frames):
        if lengths is None:
            return None
        return torch.arange(frames) < self.output_lengths(torch.as_tensor(lengths))[:, None]


def heads(listener=None, **settings):
    """One of each kind over this listener."""
    made = listener or Listener()
    tdnn = dict(tdnn_widths=(5, 4), tdnn_kernels=(2, 3), tdnn_dilations=(1, 2), embedding=6)
    return [
        sl.CTCModel(made, CTCConfig(classes=5)),
        sl.SequenceClassifier(made, HeadConfig(classes=3, projector=4, **settings)),
        sl.FrameClassifier(made, HeadConfig(classes=3, **settings)),
        sl.XVector(made, XVectorConfig(classes=3, **tdnn, **settings)),
    ]


LABELS = (
    torch.tensor([[1, 2, 2], [4, 1, -100]]),
    torch.tensor([2, 0]),
    torch.randint(0, 3, (2, 12)),
    torch.tensor([1, 2]),
)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_a_head_learns(number, weighted):
    """A few steps over a frozen listener make the loss smaller, and change the head only."""
    torch.manual_seed(number)
    head = heads(weighted_layer_sum=weighted)[number]
    head.freeze_encoder()
    before = [p.clone() for p in head.encoder.parameters()]
    wave, lengths = torch.randn(2, 120), torch.tensor([120, 95])
    learning = [p for p in head.parameters() if p.requires_grad]
    assert len(learning) < len(list(head.parameters()))
    optimiser = torch.optim.Adam(learning, lr=0.02)
    history = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = head.loss(wave, LABELS[number], lengths)
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < history[0]
    for old, new in zip(before, head.encoder.parameters(), strict=True):
        assert torch.equal(old, new)


@torch.no_grad()
@pytest.mark.parametrize("weighted", [False, True])
def test_padding_changes_nothing(weighted):
    """Rows alone, and together in a batch with zeros or noise after them."""
    torch.manual_seed(0)
    wave, lengths = torch.randn(2, 120), torch.tensor([120, 90])
    for head in heads(weighted_layer_sum=weighted)[:3]:
        together = head.eval()(wave, lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = head(wave[row : row + 1, :length])[0]
            torch.testing.assert_close(together[row][: len(alone)], alone)


@torch.no_grad()
def test_statistics_are_of_the_frames_that_hugging_face_counts():
    """Real frames less what the kernels take, dilation not counted: a frame of padding may slip
    in, as published. Kernels of 1 or no dilation: real frames alone."""
    torch.manual_seed(0)
    wave, lengths = torch.randn(2, 160), torch.tensor([160, 100])
    sizes = dict(tdnn_widths=(5, 4), tdnn_kernels=(2, 3), embedding=6)
    for dilation, real in ((1, True), (3, False)):
        config = XVectorConfig(tdnn_dilations=(1, dilation), **sizes)
        head = sl.XVector(Listener(), config).eval()
        alone = head.embed(wave[1:, :100])
        together = head.embed(wave, lengths)[1:]
        assert torch.allclose(alone, together, atol=1e-6) == real


def test_fresh_weights_as_published():
    torch.manual_seed(0)
    listener = Listener(width=60)
    ctc, sequence, _, voice = heads(listener, weighted_layer_sum=True)
    for part in (ctc.classifier, sequence.projector, voice.tdnn[0], voice.embedding):
        assert abs(part.weight.std() / 0.1 - 1) < 0.25 and not part.bias.any()
    assert abs(voice.objective.weight.std() - 1) < 0.4
    torch.testing.assert_close(sequence.layer_weights, torch.full((3,), 1 / 3))


@torch.no_grad()
def test_dropout_before_the_classifier():
    """In train() a share of what is heard is left out, the rest made larger: the mean stays."""
    torch.manual_seed(0)
    head = sl.CTCModel(Listener(), CTCConfig(classes=5, dropout=0.4))
    wave = torch.randn(1, 60)
    expected = head.eval()(wave)
    draws = torch.stack([head.train()(wave) for _ in range(4000)])
    assert draws.std(0).min() > 1e-3
    assert (draws.mean(0) - expected).abs().max() < 5 * (draws.std(0).max() / 4000**0.5)


@torch.no_grad()
def test_recognise():
    model = sl.load(GOLDEN / "heads" / "wav2vec2-ctc")
    wave, lengths = inputs_of(outputs("heads/wav2vec2-ctc"), "padded")
    log_probs = model(wave, lengths).log_softmax(-1).numpy()
    frames = model.encoder.output_lengths(lengths).tolist()
    greedy = [sl.ctc_decoding.greedy(p[:n]) for p, n in zip(log_probs, frames, strict=True)]
    assert model.recognise(wave, lengths) == greedy and any(greedy)
    beam = model.recognise(wave, lengths, beams=4)
    assert beam == [
        sl.ctc_decoding.prefix_beam(p[:n], 4)[0][0] for p, n in zip(log_probs, frames, strict=True)
    ]


def test_freezing_the_convolutions():
    model = sl.load(GOLDEN / "heads" / "wavlm-sequence")
    model.freeze_feature_encoder()
    golden = outputs("heads/wavlm-sequence")
    model.loss(inputs_of(golden, "full")[0], golden["labels"]).backward()
    still = {n for n, p in model.named_parameters() if p.grad is None}
    still -= {"encoder.mask_embedding"}  # used while training only
    assert still == {n for n, _ in model.named_parameters() if n.startswith("encoder.front.")}
    with pytest.raises(ValueError, match="Listener has no feature encoder"):
        heads()[0].freeze_feature_encoder()


# --- what does not fit --------------------------------------------------------------------------


def test_sequence_and_frame_heads_refuse_an_adapter():
    for kind in (sl.SequenceClassifier, sl.FrameClassifier):
        with pytest.raises(ValueError, match=f"{kind.__name__} cannot stand over an adapter"):
            kind(Listener(adapter=True), HeadConfig())
    narrow = Listener(adapter=True)
    narrow.output_width = 4
    assert sl.CTCModel(narrow, CTCConfig()).classifier.in_features == 4
    with pytest.raises(ValueError, match="its adapter makes 4"):
        sl.XVector(narrow, XVectorConfig())


def test_a_checkpoint_with_a_sequence_head_over_an_adapter(tmp_path):
    shutil.copytree(GOLDEN / "heads" / "wavlm-sequence", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"add_adapter": True}))
    with pytest.raises(ValueError, match="add_adapter"):
        sl.load(tmp_path)


def test_target_lang_is_out_of_scope(tmp_path):
    shutil.copytree(GOLDEN / "heads" / "wav2vec2-ctc", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"adapter_attn_dim": 16}))
    with pytest.raises(ValueError, match="target_lang"):
        sl.load(tmp_path)


@pytest.mark.parametrize("number, labels, message", [
    (0, torch.tensor([[1, 5], [1, 2]]), "0 to 4, got 1 to 5"),
    (0, torch.tensor([[1, -1], [1, 2]]), "got -1 to 2"),
    (0, torch.tensor([1, 2]), r"shape \(batch, tokens\)"),
    (0, torch.tensor([[1, 2]]), "expected 2 rows of labels, got 1"),
    (0, torch.tensor([[1.0], [2.0]]), "whole numbers"),
    (1, torch.tensor([0, 3]), "0 to 2, got 0 to 3"),
    (1, torch.tensor([0]), r"shape \(2,\)"),
    (2, torch.zeros(2, 13, dtype=torch.long), r"\(2, 12\) or .* got \(2, 13\)"),
    (2, torch.full((2, 12), 3), "0 to 2, got 3 to 3"),
    (2, torch.zeros(2, 12, 4), r"got \(2, 12, 4\)"),
    (3, torch.tensor([-1, 0]), "0 to 2, got -1 to 0"),
])  # fmt: skip
def test_labels_that_do_not_fit(number, labels, message):
    with pytest.raises(ValueError, match=message):
        heads()[number].loss(torch.randn(2, 120), labels)


def test_labels_that_need_too_many_frames_cost_infinity_or_nothing():
    wave, labels = torch.randn(2, 30), torch.tensor([[1, 1, 1], [1, 2, -100]])
    for reduction in ("sum", "mean"):
        config = CTCConfig(classes=5, reduction=reduction)
        assert sl.CTCModel(Listener(), config).loss(wave, labels) == float("inf")
    config = CTCConfig(classes=5, zero_infinity=True)
    loss = sl.CTCModel(Listener(), config).loss(wave, labels)
    assert 0 < loss < float("inf")


def test_a_loss_is_added_up_in_float32():
    model = sl.CTCModel(Listener(), CTCConfig(classes=5)).to(torch.bfloat16)
    wave, labels = torch.randn(2, 90).to(torch.bfloat16), torch.tensor([[1, 3, 2], [1, 2, -100]])
    assert model.loss(wave, labels).dtype == torch.float32


def test_labels_filled_up_with_the_blank_are_refused():
    model = sl.CTCModel(Listener(), CTCConfig(classes=5))
    with pytest.raises(ValueError, match="must not have the blank, 0.*-100"):
        model.loss(torch.randn(2, 90), torch.tensor([[1, 3, 2], [1, 2, 0]]))


def test_recordings_too_short_for_the_tdnn():
    voice = heads()[3]  # reach: 1 + 2 x 2 frames; two more for a deviation
    assert torch.isfinite(voice(torch.randn(1, 70))).all()
    with pytest.raises(ValueError, match="at least 7 frames"):
        voice(torch.randn(1, 60))
    with pytest.raises(ValueError, match="5 real ones in each row"):
        voice(torch.randn(2, 120), torch.tensor([120, 40]))


@pytest.mark.parametrize(
    "config, settings, message",
    [
        (CTCConfig, dict(blank=None), "needs a blank"),
        (CTCConfig, dict(classes=4, blank=4), "0 to 3"),
        (CTCConfig, dict(reduction="average"), "ctc_loss_reduction"),
        (CTCConfig, dict(dropout=1.5), "dropout"),
        (HeadConfig, dict(classes=0), "classes"),
        (XVectorConfig, dict(tdnn_widths=(3, 4), tdnn_kernels=(1,)), "one kernel"),
        (XVectorConfig, dict(tdnn_kernels=(5, 3, 3, 1, 0)), "at least 1"),
    ],
)
def test_settings_that_do_not_fit(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_published_defaults():
    assert CTCConfig.from_hugging_face({"model_type": "wavlm"}).reduction == "mean"
    assert CTCConfig.from_hugging_face({"model_type": "wav2vec2"}).reduction == "sum"
    named = {"id2label": {"0": "a", "1": "b", "2": "c"}}
    assert HeadConfig.from_hugging_face(named).classes == 3
    with pytest.raises(ValueError, match="expected id2label as a table .* got 3"):
        HeadConfig.from_hugging_face({"id2label": 3})
    assert XVectorConfig.from_hugging_face({}).tdnn_widths == (512, 512, 512, 512, 1500)
