"""wav2vec 2.0 pre-training against transformers 4.46.3 (goldens) and 5.x (live)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_cases import GOLDEN, assert_close, outputs

import speechlib as sl
from speechlib.configs import PretrainingConfig

torch.set_num_threads(1)
FOLDER = GOLDEN / "heads" / "wav2vec2-pretraining"


@pytest.fixture(scope="module")
def golden():
    return outputs(FOLDER)


@pytest.fixture
def model():
    return sl.load(FOLDER)


def given(golden, tag):
    wave, lengths = torch.from_numpy(golden["wave"]), torch.from_numpy(golden["lengths"])
    if tag == "full":
        return wave, None
    return wave * (torch.arange(wave.shape[1]) < lengths[:, None]), lengths


def drawn(golden):
    """Hidden frames, and negatives drawn as Hugging Face draws them under the same seed."""
    hidden = golden["hidden"]
    negatives = sl.losses.sample_negatives(hidden, 6, np.random.RandomState(6))
    theirs = golden["negatives"] - np.arange(3)[:, None, None] * hidden.shape[1]
    np.testing.assert_array_equal(negatives[hidden], theirs[hidden])
    return hidden, negatives


@pytest.mark.parametrize("tag", ["full", "padded"])
def test_guesses_targets_loss_and_gradients(model, golden, tag):
    wave, lengths = given(golden, tag)
    hidden, negatives = drawn(golden)
    guesses, targets, perplexity = model(wave, lengths, hidden)
    real = np.ones(hidden.shape, bool)
    if lengths is not None:
        real = model.encoder.frame_mask(lengths, hidden.shape[1]).numpy()
    assert_close(guesses[real], golden[f"{tag}.guesses"][real], "guesses")
    assert_close(targets, golden[f"{tag}.targets"], "targets")
    assert_close(perplexity, golden[f"{tag}.perplexity"], "perplexity")
    loss = model.loss(wave, lengths, hidden, negatives)
    assert_close(loss, golden[f"{tag}.loss"], "loss")
    loss.backward()
    for theirs, ours in (
        ("quantizer.codevectors", model.quantizer.codevectors),
        ("project_hid.weight", model.guess.weight),
    ):
        assert_close(ours.grad, golden[f"{tag}.gradient.{theirs}"], theirs)


@torch.no_grad()
def test_transformers_reads_what_we_save(model, golden, tmp_path):
    transformers = pytest.importorskip("transformers")
    sl.save(model, tmp_path)
    theirs, report = transformers.Wav2Vec2ForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    hidden = torch.from_numpy(golden["hidden"])
    out = theirs.eval()(torch.from_numpy(golden["wave"]), mask_time_indices=hidden)
    assert_close(out.projected_states, golden["full.guesses"], "guesses after our save")
    assert_close(out.projected_quantized_states, golden["full.targets"], "targets")


def test_training_draws_by_torch_s_seed_and_learns(model, golden):
    wave, lengths = given(golden, "padded")
    model.train()

    def loss(seed):
        torch.manual_seed(seed)
        return model.loss(wave, lengths)

    assert loss(1) == loss(1) != loss(2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
    history = []
    for _ in range(30):  # the same draws each time: it can remember them
        optimiser.zero_grad()
        now = loss(1)
        now.backward()
        optimiser.step()
        history.append(now.item())
    assert min(history[-5:]) < 0.8 * history[0]


def test_so_many_spans_are_hidden_as_the_listener_asks_for(model, golden):
    """At least `mask_time_min_masks` in each row, and none in the padding."""
    wave, lengths = given(golden, "padded")
    augment = replace(model.encoder.config.spec_augment, time_probability=1e-6, time_min_spans=2)
    model.encoder.config = replace(model.encoder.config, spec_augment=augment)
    seen, plain = [], model.encoder.hidden_states
    model.encoder.hidden_states = lambda *x: seen.append(torch.as_tensor(x[2])) or plain(*x)
    for seed in range(5):
        torch.manual_seed(seed)
        model.loss(wave, lengths)
        assert (seen[-1].sum(1) > augment.time_length).all()
        assert not seen[-1][~model.encoder.frame_mask(lengths, seen[-1].shape[1])].any()


def test_what_is_quantised_is_dropped_out_too(model, golden):
    model.dropout.p, seen = 0.5, []
    model.quantizer.register_forward_pre_hook(lambda _, given: seen.append(given[0] == 0))
    for training in (True, False):
        model.train(training)(given(golden, "full")[0])
    assert 0.4 < seen[0].float().mean() < 0.6 and not seen[1].any()


def test_wavlm_can_learn_so_too(tmp_path):
    """A combination of ours: Hugging Face pre-trains wav2vec 2.0 alone, and `save` says so."""
    encoder = sl.load(GOLDEN / "heads" / "wavlm-xvector").encoder
    sizes = dict(groups=2, codes=4, codevector_dim=6, width=5, negatives=3)
    model = sl.PretrainingModel(encoder, PretrainingConfig(**sizes)).train()
    loss = model.loss(torch.randn(2, 600), torch.tensor([600, 480]))
    loss.backward()
    assert torch.isfinite(loss) and model.quantizer.scores.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="PretrainingModel"):
        sl.save(model, tmp_path)


def test_hidden_frames_do_not_reach_the_guess(model, golden):
    """What is hidden is replaced before the blocks look at it: without positions and neighbours
    the sound of a hidden frame changes nothing but its target."""
    hidden = np.ones_like(golden["hidden"])
    wave = given(golden, "full")[0]
    with torch.no_grad():
        one, two = model(wave, None, hidden)[0], model(wave.flip(1), None, hidden)[0]
    torch.testing.assert_close(one, two)


def test_what_does_not_fit(model, golden):
    wave = given(golden, "full")[0]
    with pytest.raises(ValueError, match=r"\(3, 24\) of True and False, got \(3, 2\)"):
        model(wave, hidden=np.ones((3, 2), bool))
    with pytest.raises(ValueError, match="int64"):
        model(wave, hidden=np.ones((3, 24), int))
    hidden = np.ones((3, 24), bool)
    with pytest.raises(ValueError, match=r"negatives must .* 0 to 23, got 0 to 106: .*row \* 24"):
        model.loss(wave, hidden=hidden, negatives=np.full((3, 24, 2), [0, 106]))
    del model.encoder.mask_embedding
    with pytest.raises(ValueError, match="hides frames"):
        sl.PretrainingModel(model.encoder, PretrainingConfig())
    with pytest.raises(ValueError, match="codevector_dim 256 is not divisible by groups 3"):
        sl.PretrainingModel(sl.load(FOLDER).encoder, PretrainingConfig(groups=3))
