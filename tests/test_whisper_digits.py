"""The bundled whisper-digits: what it promises on voices it never heard, and what it leaves out."""

import warnings

import numpy as np
import pytest

import speechlib as sl
from speechlib.torch_models.short_form import window_cuts

RATE = 16_000
# six of the eight test voices; the others read English as Portuguese and Spanish speakers
ENGLISH = ("en-us", "en-gb-x-gbclan", "en-gb-scotland", "American")


@pytest.fixture(scope="module")
def model():
    return sl.load("whisper-digits")


@pytest.fixture(scope="module")
def heard(model):
    """(utterance, transcript with words) of every test utterance that holds digits."""
    return [(u, sl.transcribe(u.wave(), model, words=True)) for u in sl.corpus.digits("test")]


def test_the_card_tells_the_word_error_rate_on_voices_never_trained_on(heard):
    (card,) = [card for card in sl.available() if card["name"] == "whisper-digits"]
    told = card["metrics"]["test"]
    errors = sl.metrics.word_errors([u.text for u, _ in heard], [t.text for _, t in heard])
    assert (told["recordings"], told["words"]) == (len(heard), errors.length)
    assert errors.rate == pytest.approx(told["word_error_rate"], abs=0.005), errors


def test_voices_with_english_accents_are_written_almost_without_error(heard):
    voices = sl.corpus.speakers()
    english = [(u, t) for u, t in heard if voices[u.voice]["accent"] in ENGLISH]
    rate = sl.metrics.wer([u.text for u, _ in english], [t.text for _, t in english])
    assert len(english) > 70 and rate <= 0.03, f"{rate:.1%} on {len(english)} strings"


def test_words_come_with_plausible_times_and_probabilities(heard):
    starts_off, ends_off = [], []
    for spoken, transcript in heard:
        words = transcript.words
        assert " ".join(word for word, *_ in words) == transcript.text
        starts = [start for _, start, _, _ in words]
        assert starts == sorted(starts)
        assert all(0 <= a <= b <= spoken.duration_s + 0.03 and 0 < p <= 1 for _, a, b, p in words)
        if transcript.text == spoken.text:
            both = list(zip(words, spoken.words, strict=True))
            starts_off += [abs(w[1] - s[1]) for w, s in both]
            ends_off += [abs(w[2] - s[2]) for w, s in both]
    for what, off in (("start", starts_off), ("end", ends_off)):
        assert np.median(off) <= 0.06, f"median error of a word's {what}: {np.median(off):.3f} s"


def test_nothing_is_invented(model):
    clips = [u for kind in ("silence", "noise", "words") for u in sl.corpus.digits("test", kind)]
    for clip in clips:
        transcript = sl.transcribe(clip.wave(), model)
        sure = transcript.segments[0]["probability"]
        assert transcript.text == "" or sure < 0.8, f"{clip.path}: {transcript.text!r} ({sure:.0%})"
    for silence in (np.zeros(RATE, np.float32), np.zeros(10, np.float32)):
        assert sl.transcribe(silence, model).text == ""
    rng = np.random.default_rng(0)
    for level in (0.001, 0.01, 0.1):
        noise = (level * rng.standard_normal(3 * RATE)).astype(np.float32)
        transcript = sl.transcribe(noise, model)
        sure = transcript.segments[0]["probability"]
        assert transcript.text == "" or sure < 0.6, f"white noise at {level}: {transcript}"


def test_a_long_recording_is_cut_at_quiet_places_and_says_so(model):
    spoken = sl.corpus.digits("test")[:4]
    gap = np.zeros(RATE, np.float32)
    wave = np.concatenate([part for u in spoken for part in (u.wave(), gap)])
    wave = np.tile(wave, -(-13 * RATE // len(wave)))
    with pytest.warns(UserWarning, match="longer than the model's window of 6 s"):
        transcript = sl.transcribe(wave, model, words=True)
    assert len(transcript.segments) > 2
    starts = [start for _, start, _, _ in transcript.words]
    assert starts == sorted(starts) and starts[-1] > 6
    assert transcript.segments[-1]["end_s"] == pytest.approx(len(wave) / RATE)


def test_windows_fit_and_meet():
    rng = np.random.default_rng(1)
    wave = rng.standard_normal(20 * RATE).astype(np.float32)
    wave[int(5.1 * RATE) : int(5.4 * RATE)] = 0
    cuts = window_cuts(wave, 6 * RATE)
    assert cuts[0] == 0 and cuts[-1] == len(wave)
    assert all(0 < b - a <= 6 * RATE for a, b in zip(cuts[:-1], cuts[1:], strict=True))
    assert 5.1 * RATE < cuts[1] < 5.4 * RATE
    assert window_cuts(wave[:100], 6 * RATE) == [0, 100]
    for seconds in (6.001, 6.5, 11.0, 11.9, 12.0, 18.0, 19.9):
        lengths = np.diff(window_cuts(wave[: int(seconds * RATE)], 6 * RATE)) / RATE
        assert lengths.max() <= 6 and lengths.min() >= 2, f"{seconds} s: {lengths}"


def test_input_that_is_not_sound_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        sl.transcribe(tmp_path / "nothing.wav", model)
    with pytest.raises(ValueError, match="finite"):
        sl.transcribe(np.array([0.0, np.nan] * 400), model)
    with pytest.raises(ValueError, match="mono wave"):
        sl.transcribe(np.zeros((2, 400)), model)


def test_beams_write_what_was_said(model):
    for spoken in sl.corpus.digits("test")[:3]:
        found = sl.transcribe(spoken.wave(), model, beams=3)
        greedy = sl.transcribe(spoken.wave(), model)
        assert sl.metrics.wer([spoken.text], [found.text]) <= sl.metrics.wer(
            [spoken.text], [greedy.text]
        )


def test_a_model_without_time_tokens_says_so(model):
    with pytest.raises(ValueError, match="no time tokens; leave them out"):
        sl.transcribe(np.ones(RATE, np.float32), model, timestamps=True)


def test_a_language_or_task_the_model_does_not_have_is_refused(model):
    wave = sl.corpus.digits("test")[0].wave()
    with pytest.raises(ValueError, match="language"):
        sl.transcribe(wave, model, language="xx")
    with pytest.raises(ValueError, match="task"):
        sl.transcribe(wave, model, task="translate")


def test_a_path_and_a_wave_give_the_same(model):
    spoken = sl.corpus.digits("test")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sl.transcribe(str(spoken.path), model) == sl.transcribe(spoken.wave(), model)


def test_the_card_says_what_was_measured():
    (card,) = [card for card in sl.available() if card["name"] == "whisper-digits"]
    assert {"task", "parameters", "metrics", "licence", "data"} <= set(card)
    model = sl.load("whisper-digits")
    assert card["parameters"] == sum(p.numel() for p in model.parameters())


def test_the_alignment_heads_look_inside_the_word(model):
    from speechlib.recipes.alignment_heads import share_inside, told

    spoken = [told(model, one) for one in sl.corpus.digits("test")[:30]]
    named = model.checkpoint.generation["alignment_heads"]
    shares = [share_inside(spoken, head) for head in named]
    assert min(shares) > 0.85, shares
    others = {(layer, head) for layer in range(2) for head in range(4)} - set(map(tuple, named))
    assert min(share_inside(spoken, head) for head in others) < 0.5
