"""The second stage of wavlm-voices: frames that are kept, and a head that learns from them."""

import numpy as np
import pytest
import torch

from speechlib.audio import SAMPLE_RATE
from speechlib.recipes import voice_figures, voice_head, wavlm_base, wavlm_voices
from speechlib.recipes.wavlm_heads import Piece


def pieces(seconds=(1.4, 0.2, 1.4)):
    rng = np.random.default_rng(0)
    return [
        Piece((3000 * rng.standard_normal(int(s * SAMPLE_RATE))).astype(np.int16), "", f"voice {n}",
              f"timbre {n}", (0, 1))
        for n, s in enumerate(seconds)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return wavlm_voices.fresh(wavlm_base.listener(layers=1), 3).eval()


def test_the_head_alone_says_of_kept_frames_what_the_model_says_of_the_wave(model):
    clips = pieces()
    kept = voice_head.listen(model, clips, rows=1)
    alone = voice_head.HeadAlone(model).eval()
    for clip, frames in zip(clips, kept, strict=True):
        with torch.no_grad():
            found = alone.head.embed(torch.from_numpy(frames).float()[None])[0].double().numpy()
        wanted = voice_figures.embedding(model, clip.wave())
        assert found @ wanted / np.linalg.norm(found) > 0.999  # kept in bfloat16
    names = np.array([clip.voice for clip in [*clips, *clips]])
    assert voice_head.eer_of(alone.head, kept + kept, names) == 0


def test_frames_come_with_the_label_of_their_clip():
    kept = [np.full((frames, 4), n, np.float16) for n, frames in enumerate((70, 30, 65))]
    batch_at = voice_head.batches(kept, [5, 6, 7], 40, 0.2, seed=0)
    met = set()
    for step in range(20):
        frames, labels, margin = batch_at(step)
        assert frames.shape[0] == 40 and frames.shape[1] in voice_head.FRAMES and margin == 0.2
        assert (frames[:, 0, 0].long() + 5 == labels).all()
        assert frames.shape[1] <= 30 or 6 not in labels
        met |= set(labels.tolist())
    assert met == {5, 6, 7}
    with pytest.raises(ValueError, match="clips of at least 60 frames"):
        voice_head.batches(kept[1:2], [6], 4, 0.2, seed=0)


def test_what_the_head_learns_goes_back_and_the_listener_stays(model):
    alone = voice_head.HeadAlone(model)
    with torch.no_grad():
        alone.head.embedding.weight.mul_(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    wave = torch.randn(1, 8000)
    with torch.no_grad():
        embedded = model.embed(wave)
        assert torch.allclose(alone.give_back(model).embed(wave), 2 * embedded, rtol=1e-4)
    changed = {n for n, value in model.state_dict().items() if not torch.equal(value, before[n])}
    assert changed == {"embedding.weight"}  # the bias is still 0
