"""Digits written by WavLM + CTC: examples, batches, files, and the bundled checkpoint."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus, paths
from speechlib.audio import SAMPLE_RATE
from speechlib.configs import CTCConfig
from speechlib.corpus.waveforms import Disturbance
from speechlib.recipes import wavlm_base, wavlm_clips, wavlm_ctc
from speechlib.recipes.digit_strings import Strings
from speechlib.torch_models.heads import CTCModel

STILL = Disturbance(
    speed=(1, 1), rooms=0, narrow=0, colour_db=0, tilt_db=0, clean=1, clipped=0, pad_s=(0, 0)
)


@pytest.fixture(scope="module")
def clips():
    return [
        wavlm_clips.from_wave(u.wave(), u.text, "string", u.voice, u.words)
        for u in corpus.digits("train")[:12]
    ]


def small_model(layers=1):
    head = CTCConfig(classes=wavlm_ctc.CLASSES, reduction="mean", zero_infinity=True)
    return CTCModel(wavlm_base.listener(layers=layers), head)


def test_an_example_holds_whole_words_where_they_are(clips):
    strings = Strings.of(clips, shares=(0, 0, 1, 0, 0))
    heard = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        wave, words = strings.example(rng, STILL, 24_000)
        assert len(wave) == 24_000
        assert all(end <= len(wave) / SAMPLE_RATE + 1e-6 for _, _, end in words)
        heard += len(words)
        loud = np.square(wave)
        for _, start, end in words:  # speech lies inside a word
            inside = loud[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)]
            assert inside.mean() > 0.05 * loud.mean()
    assert heard > 12


def test_single_words_are_joined_with_gaps(clips):
    spoken = corpus.digits("train")[2]
    singles = [
        wavlm_clips.from_wave(
            spoken.wave()[int(s * SAMPLE_RATE) : int(e * SAMPLE_RATE)], w, "real", "p",
            [(w, 0.0, e - s)],
        )
        for w, s, e in spoken.words
    ]  # fmt: skip
    strings = Strings.of(singles, shares=(1, 0, 0, 0, 0))
    counts = {len(strings.example(np.random.default_rng(n), STILL, 60_000)[1]) for n in range(15)}
    assert max(counts) >= 3 and min(counts) >= 1


def test_without_digits_there_is_nothing_to_draw(clips):
    other = [wavlm_clips.from_wave(np.ones(9000, np.float32), "", "other", "v")]
    with pytest.raises(ValueError, match="expected clips of digits"):
        Strings.of(other)
    strings = Strings.of([*other, *clips], shares=(0, 0, 0, 1, 0))
    assert strings.example(np.random.default_rng(0), STILL, 30_000)[1] == []


def test_labels_and_frames_tell_the_words():
    waves = [np.random.default_rng(0).standard_normal(n).astype(np.float32) for n in (16_000, 8000)]
    examples = [(waves[0], [("two", 0.1, 0.4), ("six", 0.5, 0.9)]), (waves[1], [])]
    waveform, lengths, labels, said = wavlm_ctc.together(examples)
    assert waveform.shape == (2, 16_000) and lengths.tolist() == [16_000, 8000]
    assert wavlm_ctc.tokenizer.decode(labels[0].tolist()) == "two six"
    assert labels[1].tolist() == [-100] * labels.shape[1]
    assert said.shape == (2, 49)
    assert said[0, 6:19].tolist() == [3] * 13 and said[0, 26:44].tolist() == [7] * 18
    assert said[0, 0] == 0 and said[1, 23] == 0 and said[1, 25:].tolist() == [-100] * 24


def test_the_loss_is_ctc_and_the_readers(clips):
    args = SimpleNamespace(steps=10, decay=0.4, seed=0, batch=4)
    batch = wavlm_ctc.batches(Strings.of(clips), args)(0)
    again = wavlm_ctc.batches(Strings.of(clips), args)(0)
    assert torch.equal(batch[0], again[0]) and batch[4] == 1.0
    model = wavlm_ctc.WithReader(small_model()).eval()
    with torch.no_grad():
        alone, both = model.loss(*batch[:4], 0.0), model.loss(*batch)
    assert torch.isfinite(both) and both > alone > 0


def test_the_folder_is_read_back_and_writes_words(tmp_path):
    model = small_model(layers=4).eval()
    wavlm_ctc.write_checkpoint(model, tmp_path)
    again = sl.load(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["WavLMForCTC"]
    found = sl.transcribe(np.random.default_rng(0).standard_normal(16_000).astype("f4"), again)
    assert isinstance(found.text, str)
    assert again.checkpoint.folder == tmp_path and wavlm_ctc.tokenizer.encode("one two") == [2, 3]
    continued = wavlm_ctc.model_from(again.checkpoint.folder)  # its classifier is taken over
    torch.testing.assert_close(continued.classifier.bias, again.classifier.bias)


@pytest.mark.skipif(
    not (paths.data_folder() / "checkpoints" / "wavlm-ctc").is_dir(), reason="not trained yet"
)
def test_the_bundled_checkpoint_writes_the_digits_of_voices_never_heard():
    model = sl.load("wavlm-ctc")
    pairs = [(u.wave(), u.text) for u in corpus.digits("test")[::4]]
    assert wavlm_ctc.word_error_rate(model, pairs) < 0.15
    assert sl.transcribe(pairs[0][0], model).text == wavlm_ctc.written(model, pairs[0][0])
