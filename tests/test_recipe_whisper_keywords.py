"""whisper-keywords: what it is trained on, how it starts, and what the shipped weights can do."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus
from speechlib.corpus.grammar import KEYWORDS
from speechlib.recipes import whisper_commands, whisper_keywords
from speechlib.torch_models.whisper import Whisper


@functools.cache
def clips():
    """What two voices say of the ten words."""
    voices = sorted({u.voice for u in corpus.commands("train")})[:2]
    return tuple(c for c in whisper_keywords.keyword_clips([], "train") if c.voice in voices)


@functools.cache
def tiny():
    """A Whisper of one block a side."""
    settings = whisper_commands.config()
    small = replace(settings.encoder, width=16, heads=2, feed_forward=16)
    both = {"encoder": small, "decoder": replace(small, cross_attention=True)}
    torch.manual_seed(0)
    return Whisper(replace(settings, **both, encoder_layers=1, decoder_layers=1))


def test_keywords_come_alone_and_cut_out_of_commands():
    assert {clip.words[0] for clip in clips()} <= set(KEYWORDS)
    assert all(len(clip.words) == 1 for clip in clips())
    alone = [clip for clip in clips() if clip.group == "string"]
    cut_out = [clip for clip in clips() if clip.group == "real"]
    assert alone and cut_out and len(alone) + len(cut_out) == len(clips())


def test_batches_are_what_they_say():
    batch_at = whisper_keywords.batches(clips(), 5, seed=1, gentle_from=1)
    known = {KEYWORDS.index(clip.words[0]) for clip in clips()}
    for step in range(2):
        mel, classes = batch_at(step)
        assert mel.shape == (5, 80, 200) and mel.dtype == torch.float32
        assert set(classes.tolist()) <= known
        assert (mel.amax((1, 2)) > mel.amin((1, 2)) + 0.5).all()  # something is said in each
    again = whisper_keywords.batches(clips(), 5, seed=1, gentle_from=1)(1)
    assert torch.equal(again[0], mel) and torch.equal(again[1], classes)


def test_it_starts_from_the_encoder_of_a_whisper():
    model = whisper_keywords.model_from(tiny())
    mine, theirs = model.encoder.state_dict(), tiny().encoder.state_dict()
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        rows = slice(100) if name == "positions.weight" else slice(None)
        assert torch.equal(mine[name], value[rows]), name
    assert model(torch.zeros(2, 80, 200)).shape == (2, 10)
    with pytest.raises(ValueError, match="200 mel frames"):
        model(torch.zeros(2, 80, 600))


def test_the_folder_says_what_the_classes_are(tmp_path):
    model = whisper_keywords.model_from(tiny()).eval()
    whisper_keywords.write_checkpoint(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["WhisperForAudioClassification"]
    assert list(config["id2label"].values()) == list(KEYWORDS)
    assert config["label2id"]["stop"] == KEYWORDS.index("stop")
    extractor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert extractor["n_samples"] == 32_000 and extractor["chunk_length"] == 2
    loaded, mel = sl.load(tmp_path), torch.randn(2, 80, 200)
    assert isinstance(loaded, sl.SequenceClassifier)
    assert torch.allclose(loaded(mel), model(mel), atol=2e-2)  # float16 in the file


def test_words_are_heard_in_the_order_of_the_recordings():
    said = corpus.commands("valid", kind="keyword")[:3]
    model = whisper_keywords.model_from(tiny()).eval()
    together = whisper_keywords.heard(model, said)
    assert together == [whisper_keywords.heard(model, [one])[0] for one in said]
    assert set(together) <= set(KEYWORDS)


# --------------------------------------------------------------------------------- shipped weights


def test_shipped_keywords_are_heard_rightly():
    model, said = sl.load(whisper_keywords.NAME), corpus.commands("test", kind="keyword")
    right = [one.text == word for one, word in zip(said, whisper_keywords.heard(model, said),
                                                   strict=True)]  # fmt: skip
    assert np.mean(right) >= 0.9
    weights = model.layer_weights.softmax(0)
    assert weights.shape == (5,) and weights.std() > 0  # learnt, no longer alike
