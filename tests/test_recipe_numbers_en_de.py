"""numbers-en-de: its pieces, its batches, its training aids, and its weights."""

import json

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus, paths, tokenizers, viz
from speechlib.corpus import grammar, waveforms
from speechlib.recipes import crossing, german_pieces, number_batches, numbers_en_de
from speechlib.recipes.number_batches import FRAME, HEARD, NAMES, Spoken

RATE = 16_000
FLOOR = 0.93  # share of numbers right; measured: see the card


def spoken(number, voice="a", seconds=1.0, pitch=100.0):
    """A recording of tones, one a word, half of it each."""
    size = round(seconds * RATE)
    wave = np.sin(2 * np.pi * pitch * np.arange(size) / RATE)
    words = len(grammar.english(number))
    edges = np.linspace(0.1, seconds - 0.1, words + 1)
    spans = tuple(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return Spoken(np.round(wave * 20_000).astype(np.int16), number, spans, voice)


# ------------------------------------------------------------------------------------ its pieces


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    german_pieces.write_tokenizer(folder)
    return tokenizers.load_tokenizer(folder)


def test_every_number_is_cut_where_its_parts_meet(tokenizer):
    for number in range(100):
        tokens = tokenizer.encode(grammar.german(number))
        assert [tokenizer.token(token) for token in tokens] == german_pieces.pieces(number)
        assert [*tokens, german_pieces.END] == german_pieces.token_ids(number)
        assert tokenizer.decode(german_pieces.token_ids(number)) == grammar.german(number)


def test_pieces():
    assert german_pieces.pieces(42) == ["zwei@@", "und@@", "vierzig"]
    assert german_pieces.pieces(21) == ["ein@@", "und@@", "zwanzig"]
    assert german_pieces.pieces(13) == ["dreizehn"] and german_pieces.pieces(30) == ["dreißig"]
    assert len(german_pieces.CROSSING) == 72
    assert german_pieces.number_of("zweiundvierzig") == 42
    assert german_pieces.number_of("zweiundzweiundvierzig") is None


# ----------------------------------------------------------------------------------- its batches


def test_labels_stand_where_the_words_are():
    frames, words = 60, [(3200.0, 6400.0), (6400.0, 12800.0)]  # 0.2 to 0.4 to 0.8 s
    labels, said, places = number_batches.labelled(
        [(42, words), (7, words[:1]), (None, [])], frames
    )
    assert labels.tolist() == [
        german_pieces.token_ids(42),
        [*german_pieces.token_ids(7), -100, -100],
        [german_pieces.END, -100, -100, -100],
    ]
    forty, two = 1 + NAMES.index("forty"), 1 + NAMES.index("two")
    middles = np.arange(frames) * FRAME + HEARD / 2
    inside = (middles > 3200 + FRAME) & (middles < 6400 - FRAME)
    assert set(said[0][torch.from_numpy(inside)].tolist()) == {forty}
    assert (said[0] == two).sum() == 20 and not said[2].any()
    assert said[1].unique().tolist() == [0, 1 + NAMES.index("seven")]
    # "zwei@@" is to be found where "two" is, "vierzig" where "forty" is, "und@@" nowhere
    assert torch.equal(places[0, 0], said[0] == two) and torch.equal(places[0, 2], said[0] == forty)
    assert not places[0, 1].any() and not places[0, 3].any() and not places[2].any()
    assert torch.equal(places[1, 0], said[1] > 0)


def test_a_number_is_put_together_from_two_recordings():
    wave, spans = number_batches.joined(spoken(47, pitch=100), spoken(92, pitch=400))
    (start, end), (begin, last) = spans
    assert (start, end) == (0.1, 0.5) and begin == 0.5 and last == pytest.approx(0.9)
    assert len(wave) == RATE
    for piece, pitch in ((wave[: round(0.45 * RATE)], 100), (wave[round(0.55 * RATE) :], 400)):
        spectrum = np.abs(np.fft.rfft(piece, RATE))
        assert abs(int(spectrum.argmax()) - pitch) <= 3


def test_batches():
    numbers = number_batches.Numbers([spoken(n, v) for n in range(100) for v in "ab"])
    encoder = numbers_en_de.fresh().encoder
    batch_at = number_batches.batches(numbers, 8, 0, encoder.output_lengths)
    waveform, labels, said, places = batch_at(3)
    frames = encoder.output_lengths(waveform.shape[1])
    assert said.shape == (8, frames) and places.shape == (*labels.shape, frames)
    assert waveform.dtype == torch.float32 and len(waveform) == 8
    again = batch_at(3)
    assert all(torch.equal(one, other) for one, other in zip(again, batch_at(3), strict=True))
    assert not torch.equal(again[0], batch_at(4)[0][:, : again[0].shape[1]])
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        wave, number, spans = numbers.drawn(rng)
        assert len(spans) == len(number_batches.words_of(number))
        assert all(0 <= start < end <= len(wave) / RATE + 0.01 for start, end in spans)
        drawn.append(number)
    assert 2 <= drawn.count(None) <= 30 and len(set(drawn)) > 80


def test_a_folder_without_numbers_is_refused():
    with pytest.raises(ValueError, match="corpus build --set numbers"):
        number_batches.spoken_numbers([paths.data_folder() / "digits"], "train")


def test_recordings_are_cut_close():
    for one in number_batches.spoken_numbers([paths.data_folder() / "numbers"], "valid")[:8]:
        start, end = one.spans[0][0], one.spans[-1][1]
        assert 0 <= start <= number_batches.KEPT_S + 1e-3
        assert end <= len(one.samples) / RATE + 1e-3 < end + number_batches.KEPT_S + 2e-3


# ------------------------------------------------------------------------------------- its aids


def test_the_guide_pulls_the_look_into_the_word():
    """Told only where to look, the model looks there; and the decoder is what learns it."""
    torch.manual_seed(0)
    model = numbers_en_de.WithAids(numbers_en_de.fresh(), reader=0.0, guide=1.0).eval()
    numbers = number_batches.Numbers([spoken(n) for n in range(100)])
    waveform, labels, said, places = number_batches.batches(
        numbers, 4, 0, model.model.encoder.output_lengths
    )(0)
    plain = model.model.loss(waveform, labels)
    before = model.loss(waveform, labels, said, places) - plain
    frames = places.shape[-1]
    everywhere = -torch.log(places.sum(-1)[places.any(-1)] / frames).mean()
    assert before > 0 and abs(before - everywhere) < 1.0  # fresh: it looks everywhere
    nothing = model.loss(waveform, labels, said, torch.zeros_like(places))
    assert nothing.item() == pytest.approx(plain.item(), rel=1e-5)
    whole = model.loss(waveform, labels, said, torch.ones_like(places))
    assert whole.item() == pytest.approx(plain.item(), rel=1e-4)  # all of it lies inside


def test_the_checkpoint_of_a_fresh_model(tmp_path):
    torch.manual_seed(0)
    model = numbers_en_de.fresh()
    numbers_en_de.write_checkpoint(model, tmp_path / "folder")
    config = json.loads((tmp_path / "folder/config.json").read_text())
    assert config["architectures"] == ["SpeechEncoderDecoderModel"]
    assert config["encoder"]["model_type"] == "wavlm"
    assert config["decoder"]["model_type"] == "speech_to_text_2"
    assert sum(path.stat().st_size for path in (tmp_path / "folder").iterdir()) < 3.6e6
    loaded = sl.load(tmp_path / "folder")
    assert loaded.config.start == loaded.config.end == german_pieces.END
    transcript = sl.transcribe(np.zeros(RATE, np.float32), loaded)
    assert isinstance(transcript.text, str)


# --------------------------------------------------------------------------------- its weights


@pytest.fixture(scope="module")
def model():
    return sl.load(numbers_en_de.NAME)


@pytest.fixture(scope="module")
def heard():
    """Two recordings of each test voice."""
    return corpus.numbers("test")[::3]


def test_voices_never_heard_are_translated(model, heard):
    written = [sl.transcribe(one.wave(), model).text for one in heard]
    right = [one.translation == text for one, text in zip(heard, written, strict=True)]
    assert len({one.voice for one in heard}) == 18 and np.mean(right) >= FLOOR


def test_beams_write_the_same(model, heard):
    for one in heard[:4]:
        assert sl.transcribe(one.wave(), model, beams=3).text == one.translation


def test_the_look_crosses(model, heard):
    found = crossing.crossing(model, heard)
    assert len(found) > 15 and np.mean([one["crosses"] for one in found]) >= 0.95
    assert np.mean([one["inside"] for one in found]) > 0.6


def test_a_number_of_two_words_can_be_seen_to_cross(model):
    one = next(one for one in corpus.numbers("test") if len(one.words) == 2)
    look = crossing.looked(model, one.wave(), german_pieces.number_of(one.translation))
    spans = crossing.spans_of_pieces(one)
    assert np.allclose(look.rows.sum(axis=1), 1, atol=1e-4)
    assert [label for label, *_ in spans] == [look.pieces[0], look.pieces[2]]
    assert spans[0][1] >= spans[1][2]  # ones are heard after the tens
    drawn = viz.plot_cross_attention(
        look.rows, tokens=look.pieces, spans=spans, time=viz.WAVLM_ENCODER
    )
    assert [text.get_text() for text in drawn.axes[0].get_yticklabels()] == look.pieces


def test_silence_is_not_translated(model):
    hiss = 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    for nothing in (np.zeros(RATE, np.float32), hiss):
        assert sl.transcribe(nothing, model).text == ""


def test_flax_writes_the_same(model, heard):
    pytest.importorskip("jax", reason="needs jax: make test installs it")
    waveform, _ = waveforms.padded([one.wave() for one in heard[:3]])
    twin = sl.load(numbers_en_de.NAME, framework="flax")
    tokens = sl.generate(twin, waveform, max_tokens=numbers_en_de.MAX_TOKENS).tokens
    ours = sl.generate(model, waveform, max_tokens=numbers_en_de.MAX_TOKENS).tokens
    assert np.array_equal(tokens, ours.numpy())
