"""Words with the rows of cross-attention that wrote them, and the view that shows both."""

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus, viz
from speechlib.torch_models import transcription, word_timing
from speechlib.viz.widgets import listen


@pytest.fixture(scope="module")
def model():
    return sl.load("whisper-digits")


@pytest.fixture(scope="module")
def spoken(model):
    """The first recording of the corpus in which the model hears two words or more."""
    for one in corpus.digits("test"):
        if len(sl.transcribe(one.wave(), model, words=True).words) > 1:
            return one.wave()
    pytest.fail("the bundled model writes nothing down")


def test_rows_are_those_of_the_decoding_steps(model, spoken):
    transcript, rows = transcription.listened(spoken, model)
    assert rows.shape == (len(transcript.words), 300)
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    # another way there: what each step of the cached decoding looked at when it chose its word
    with sl.trace(model, "decoder.*.cross_attention.weights") as seen:
        plain = sl.transcribe(spoken, model)
    assert plain.text == transcript.text == " ".join(word for word, *_ in transcript.words)
    layers = list(seen.values())
    for step, row in enumerate(rows):
        heads = [layers[layer][step][0, head, -1]
                 for layer, head in word_timing.alignment_heads(model)]
        np.testing.assert_allclose(row, torch.stack(heads).mean(0), atol=1e-5)


def test_silence_has_no_rows(model):
    transcript, rows = transcription.listened(np.zeros(16000, np.float32), model)
    assert transcript.text == "" and rows.shape == (0, 300)


@pytest.mark.parametrize("heads", [[[7, 0]], [[0, 99]], [[-1, 0]]])
def test_alignment_heads_that_the_model_lacks_are_named(model, spoken, monkeypatch, heads):
    monkeypatch.setitem(model.checkpoint.generation, "alignment_heads", heads)
    layers, count = model.config.decoder_layers, model.config.decoder.heads
    said = rf"alignment_heads .* {layers} layers x {count} heads .* got \[\[{heads[0][0]}, "
    with pytest.raises(ValueError, match=said):
        sl.transcribe(spoken, model, words=True)


def test_only_whisper_is_listened_to(spoken):
    with pytest.raises(ValueError, match="expected a Whisper model, .* got CTCModel: "):
        transcription.listened(spoken, "wavlm-ctc")


@pytest.mark.parametrize(
    "name, came",
    [("wavlm-voices", "XVector"), ("whisper-keywords", "SequenceClassifier"),
     ("wavlm-pretrained", "WavLM"), ("wavlm-contrastive", "PretrainingModel")],
)  # fmt: skip
def test_a_model_that_writes_nothing_is_refused_by_name_as_well(spoken, name, came):
    for model in (name, sl.load(name)):
        with pytest.raises(ValueError, match=f"expected a Whisper model, or another .* got {came}"):
            sl.transcribe(spoken, model)


def test_longer_than_a_window_is_said(model):
    with pytest.raises(ValueError, match=r"at most one window of 6 s, got 7.0 s; cut it first"):
        transcription.listened(np.full(7 * 16000, 0.1, np.float32), model)


def test_the_view_shows_words_and_rows(model, spoken):
    shown = viz.listen(spoken, model)
    assert shown.words == shown.transcript.text.split()
    assert shown.weights.shape == (len(shown.words), 300)
    data, _ = shown._repr_mimebundle_()
    for word in shown.words:
        assert f">{word}" in data["text/html"] and f"what “{word}” listened to" in data["text/html"]
    assert 'alt="' in data["text/html"]


def test_the_view_says_so_when_there_is_no_word(model):
    shown = viz.listen(np.zeros(16000, np.float32), model)
    data, _ = shown._repr_mimebundle_()
    assert shown.words == [] and "The model wrote nothing" in data["text/html"]
    assert "the model's, not your voice's" in data["text/plain"]


def test_a_guess_carries_a_question_mark():
    words = [("two", 0.0, 0.4, 0.97), ("<six>", 0.4, 0.8, 0.31)]
    text = listen.written_html(transcription.Transcript(text="two six", words=words))
    assert ">two</b>" in text and "97% sure" in text
    assert "&lt;six&gt;?</b>" in text and "31% sure" in text


def test_computer_voices_are_strangers_with_different_labels():
    voices = viz.computer_voices()
    assert len(voices) >= 4 and len({label for label, _ in voices}) == len(voices)
    assert all(path.parent.name == "test" and path.exists() for _, path in voices)
