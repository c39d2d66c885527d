"""Long recordings: every window, temperature and segment as openai-whisper decides them, live."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import whisper
from whisper.model import ModelDimensions
from whisper.tokenizer import get_tokenizer

import speechlib as sl
from speechlib import alignment, audio, configs, generation_rules
from speechlib.torch_models import generation, long_form, transcription
from speechlib.torch_models.whisper import Whisper

RATE = audio.SAMPLE_RATE
THEIRS = get_tokenizer(True, num_languages=99, language="en", task="transcribe")
NAMES = {  # openai-whisper's -> ours
    ".attn.": ".self_attention.", ".cross_attn.": ".cross_attention.", ".out.": ".output.",
    ".attn_ln.": ".self_norm.", ".cross_attn_ln.": ".cross_norm.",
    ".mlp_ln.": ".feed_forward_norm.", ".mlp.0.": ".feed_forward.up.",
    ".mlp.2.": ".feed_forward.down.", "ln_post": "norm",
    "decoder.ln.": "decoder.norm.", "positional_embedding": "positions.weight",
}  # fmt: skip


class TheirTokenizer:
    """openai-whisper's own vocabulary behind the methods that we ask."""

    special = dict(THEIRS.special_tokens)

    def decode(self, ids):
        return THEIRS.decode([token for token in ids if token < THEIRS.eot])

    def words(self, ids, spaces=True):
        words, tokens = THEIRS.split_to_word_tokens(list(ids))
        ends = np.cumsum([len(one) for one in tokens])
        return [
            (w, list(range(e - len(t), e))) for w, t, e in zip(words, tokens, ends, strict=True)
        ]


def settings():
    """What a published generation_config.json holds."""
    silent = [*THEIRS.non_speech_tokens, THEIRS.transcribe, THEIRS.translate, THEIRS.sot]
    codes = zip(THEIRS.all_language_codes, THEIRS.all_language_tokens, strict=True)
    return {
        "decoder_start_token_id": THEIRS.sot, "eos_token_id": THEIRS.eot,
        "pad_token_id": THEIRS.eot, "max_initial_timestamp_index": 50,
        "suppress_tokens": [*silent, THEIRS.sot_prev, THEIRS.sot_lm, THEIRS.no_speech],
        "begin_suppress_tokens": [*THEIRS.encode(" "), THEIRS.eot],
        "no_timestamps_token_id": THEIRS.no_timestamps,
        "lang_to_id": {f"<|{code}|>": token for code, token in codes},
        "task_to_id": {"transcribe": THEIRS.transcribe, "translate": THEIRS.translate},
        "prev_sot_token_id": THEIRS.sot_prev,
    }  # fmt: skip


def pair(seed, width=32, slots=48):
    """The same tiny random weights in openai-whisper's model and in ours."""
    torch.manual_seed(seed)
    theirs = whisper.model.Whisper(
        ModelDimensions(80, 1500, width, 2, 1, 51865, slots, width, 2, 1)
    ).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            noise = torch.randn_like(parameter)
            scale = 0.2 if "ln" in name or name.endswith("bias") or "conv" in name else 0.5
            scale = 2 / width**0.5 if ".attn." in name or ".mlp." in name else scale
            parameter.copy_(scale * noise + (1 if "ln" in name and "weight" in name else 0))
        # lift times, and the end, so that windows have several segments and do end
        lift = torch.randn(width)
        theirs.decoder.ln.bias += lift / lift.norm()
        theirs.decoder.token_embedding.weight[THEIRS.timestamp_begin :] += 0.5 * (seed % 2) * lift
        theirs.decoder.token_embedding.weight[THEIRS.eot] += 0.7 * lift
    block = {"width": width, "heads": 2, "feed_forward": 4 * width, "key_bias": False}
    ours = Whisper(
        configs.WhisperConfig(
            encoder=configs.BlockConfig(**block),
            decoder=configs.BlockConfig(**block, cross_attention=True),
            encoder_layers=1, decoder_layers=1, vocabulary=51865, slots=slots,
            pad=THEIRS.eot, start=THEIRS.sot, end=THEIRS.eot,
        )
    ).eval()  # fmt: skip
    ours.load_state_dict({_renamed(n): tensor for n, tensor in theirs.state_dict().items()})
    ours.tokenizer = TheirTokenizer()
    ours.checkpoint = SimpleNamespace(config={}, generation=settings(), folder=None)
    # both draw the same numbers in every window
    plain = theirs.decode
    theirs.decode = lambda *given: (torch.manual_seed(long_form.SEED), plain(*given))[1]
    return theirs, ours


def _renamed(name):
    for old, new in NAMES.items():
        name = name.replace(old, new)
    return name


def noise(seconds, seed):
    """Noise that is loud and quiet by turns."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE)
    loud = np.repeat(rng.random(count // 4000 + 1), 4000)[:count]
    return (0.3 * loud * rng.standard_normal(count)).astype(np.float32)


CASES = [
    (0, 47.3, None, {}),
    (1, 61.0, "de", {"log_prob": -6.0, "no_speech": 2e-5}),
    (2, 35.0, "en", {"temperatures": (0.0,), "condition": False}),
    (3, 70.2, None, {"temperatures": (0.0, 1.0), "compression_ratio": 1.05, "log_prob": None}),
    (4, 33.0, "en", {"log_prob": -20.0, "compression_ratio": None, "no_speech": None}),
    (1, 31.0, "de", {"log_prob": -20.0, "no_speech": 0.0}),  # believed, so it is no silence
    (5, 65.0, "en", {"temperatures": (0.5,)}),  # the next window is told of it
    (5, 65.0, "en", {"temperatures": (0.6,)}),  # too hot for that
]


@pytest.mark.parametrize("seed, seconds, language, changes", CASES)
def test_segments_are_those_of_openai_whisper(seed, seconds, language, changes):
    (theirs, ours), wave = pair(seed), noise(seconds, seed)
    strategy = long_form.Strategy(**changes)
    found = theirs_transcribed(theirs, wave, language, strategy)
    mel = audio.log_mel(np.concatenate([wave, np.zeros(30 * RATE, np.float32)]), 80, None)
    with torch.no_grad():
        memory = ours.encode(mel[None, :, :3000])
        prompt = generation.own_prompt(ours, memory, language, "transcribe", True)
    segments = list(long_form.LongForm(ours, mel, prompt, strategy=strategy).segments())
    assert len(segments) == len(found)
    for (mine, _, tokens), other in zip(segments, found, strict=True):
        assert mine["start_s"] == pytest.approx(other["start"], abs=1e-6)
        assert mine["end_s"] == pytest.approx(other["end"], abs=1e-6)
        assert mine["text"] == other["text"].strip()
        assert tokens == [token for token in other["tokens"] if token < THEIRS.eot]
        assert mine["temperature"] == other["temperature"]
        assert mine["no_speech"] == pytest.approx(other["no_speech_prob"], rel=1e-3, abs=1e-9)
        assert mine["compression_ratio"] == pytest.approx(other["compression_ratio"])


def theirs_transcribed(model, wave, language, strategy):
    """openai-whisper's segments that have a text."""
    found = whisper.transcribe(
        model, wave, language=language, fp16=False, temperature=strategy.temperatures,
        compression_ratio_threshold=strategy.compression_ratio,
        logprob_threshold=strategy.log_prob, no_speech_threshold=strategy.no_speech,
        condition_on_previous_text=strategy.condition,
    )  # fmt: skip
    return [segment for segment in found["segments"] if segment["text"].strip()]


@pytest.mark.parametrize(
    "log_prob, ratio, no_speech, will_do, silence",
    [
        (-0.5, 1.0, 0.1, True, False),
        (-0.5, 3.0, 0.1, False, False),  # repeats itself
        (-1.5, 1.0, 0.1, False, False),  # not believed
        (-1.5, 1.0, 0.9, True, True),  # nobody speaks: no other text would be better
        (-0.5, 1.0, 0.9, True, False),  # believed all the same
        (-1.0, 2.4, 0.6, True, False),  # just on the thresholds
    ],
)
def test_when_a_text_is_written_again(log_prob, ratio, no_speech, will_do, silence):
    form = SimpleNamespace(strategy=long_form.Strategy())
    written = long_form.Written([5], [-0.1], "a", 0.0, log_prob, ratio, no_speech)
    assert long_form.LongForm._will_do(form, written) is will_do
    assert long_form.LongForm._is_silence(form, written) is silence


def test_a_long_prompt_leaves_room_for_what_fits_and_no_more():
    (_, ours), prompt = pair(1), torch.tensor([[THEIRS.sot, THEIRS.sot + 1, THEIRS.transcribe]])
    form = long_form.LongForm(ours, None, prompt, strategy=long_form.Strategy((0.0,)))
    form.rules = [generation_rules.Suppress((THEIRS.eot,))]
    form.said = list(range(100, 200))
    with torch.no_grad():
        memory = ours.encode(torch.zeros(1, 80, 3000))
    told = 1 + (48 // 2 - 1) + 3  # <|startofprev|>, half of the positions less one, the prompt
    assert form._told().shape[1] == told
    written = form.write(memory)
    assert len(written.tokens) == len(written.steps) == 48 + 1 - told  # the last is never read
    # as openai/whisper: the end token counts, also where none came
    assert written.log_prob == pytest.approx(sum(written.steps) / (len(written.steps) + 1))
    form.said = []
    assert len(form.write(memory).tokens) == 48 // 2


def test_a_wave_below_zero_is_no_silence():
    (_, ours), wave = pair(1), -np.abs(noise(5, 1))
    assert sl.transcribe(wave, ours, language="en").tokens


def test_the_first_try_searches_with_the_beams_that_are_asked_for():
    (_, ours), prompt = pair(1), torch.tensor([[THEIRS.sot, THEIRS.sot + 1, THEIRS.transcribe]])
    with torch.no_grad():
        memory = ours.encode(torch.zeros(1, 80, 3000))
    written = {}
    for beams in (1, 3):
        form = long_form.LongForm(ours, None, prompt, beams, strategy=long_form.Strategy((0.0,)))
        written[beams] = form.write(memory).tokens
        found = generation.generate_from(
            ours, memory, max_tokens=24, prompt=prompt, rules=form.rules,
            search=generation.search_named(beams),
        )  # fmt: skip
        assert written[beams] == found.tokens[0, 3 : 3 + len(written[beams])].tolist()
    assert written[1] != written[3]
    form = long_form.LongForm(ours, None, prompt, 3, strategy=long_form.Strategy((1.0,)))
    assert form.write(memory).temperature == 1.0  # drawing knows no beams


def test_a_window_may_fill_every_position_of_the_model():
    (_, ours), wave = pair(1), noise(5, 1)
    ours.checkpoint.generation["suppress_tokens"] = list(range(THEIRS.eot, 51865))
    found = sl.transcribe(wave, ours, language="en")
    assert len(found.tokens) == ours.config.slots - 4  # start, language, task, no times


def test_transcribe_goes_through_all_windows_and_times_words():
    (_, ours), wave = pair(1), noise(50, 1)
    found = sl.transcribe(wave, ours, words=True, language="de")
    assert found.language == "de" and found.segments[-1]["start_s"] > 25
    assert "".join(found.text.split()) == "".join(
        "".join(s["text"].split()) for s in found.segments
    )
    assert all(0 <= a <= b <= 51 and 0 < p <= 1 for _, a, b, p in found.words)
    assert sl.transcribe(wave, ours, timestamps=True, language="de").segments == found.segments
    silence = sl.transcribe(np.zeros(40 * RATE, np.float32), ours)
    assert silence.text == ""


def test_words_are_in_order_and_none_swallows_what_its_window_did_not_keep():
    """Six commands, longer than a window of 6 s; the first is cut behind its second segment."""
    said = sl.corpus.commands("test")[12:18]
    found = sl.transcribe(np.concatenate([u.wave() for u in said]), "whisper-commands", words=True)
    assert all(a[2] <= b[1] + 1e-6 for a, b in zip(found.words, found.words[1:], strict=False))
    kept = " ".join(segment["text"] for segment in found.segments[:2]).split()
    assert [word for word, *_ in found.words[: len(kept)]] == kept
    assert found.words[len(kept) - 1][2] <= found.segments[1]["end_s"] + 1e-6


def test_a_window_without_a_word_has_no_word_times():
    (_, ours), prompt = pair(1), torch.tensor([[THEIRS.sot]])
    mel = np.zeros((ours.config.mel_bins, 2 * ours.config.mel_frames), np.float32)
    with torch.no_grad():
        memory = ours.encode(torch.zeros(1, *mel[:, ::2].shape))
    form = long_form.LongForm(ours, mel, prompt, words=True)
    assert form._timed([(0, 5, [form.first_time, form.first_time + 5])], memory, 0.0, 100) == []
    assert alignment.tightened([], np.ones((1, 2, 3)), [], 1) == []


def test_one_window_with_times_is_one_pass():
    """Segments between pairs of times; what was opened and never closed lasts to the end."""
    (_, ours), wave = pair(1), noise(20, 3)
    found = sl.transcribe(wave, ours, timestamps=True, language="en", task="translate")
    with torch.no_grad():
        memory = ours.encode(transcription.mel_for(ours, wave))
    prompt = generation.own_prompt(ours, memory, "en", "translate", True)
    assert prompt.tolist() == [[THEIRS.sot, THEIRS.to_language_token("en"), THEIRS.translate]]
    starts = [segment["start_s"] for segment in found.segments]
    assert starts == sorted(starts)
    assert all(one["start_s"] <= one["end_s"] <= 30 for one in found.segments)
    timed = sl.transcribe(wave, ours, timestamps=True, words=True, language="en", task="translate")
    assert timed.segments == found.segments and timed.words
    assert found.tokens and max(found.tokens) < THEIRS.eot


@pytest.mark.parametrize(
    "tokens, pieces, move",
    [
        ([], [(0, 50, [])], 100),
        ([3, 4], [(0, 50, [3, 4])], 100),
        ([10, 3, 14], [(0, 4, [10, 3, 14])], 100),
        ([10, 3, 10], [(0, 50, [10, 3, 10])], 100),
        ([11, 3, 14, 14, 5], [(1, 4, [11, 3, 14])], 8),
        ([11, 3, 14, 15, 5, 19], [(1, 4, [11, 3, 14]), (5, 9, [15, 5, 19])], 100),
        ([11, 3, 14, 15, 5, 19, 20], [(1, 4, [11, 3, 14]), (5, 9, [15, 5, 19])], 18),
    ],
)
def test_a_window_is_cut_where_two_times_meet(tokens, pieces, move):
    assert long_form.segments_of(tokens, first_time=10, size=100) == (pieces, move)


def test_silence_has_two_names():
    for name in ("<|nospeech|>", "<|nocaptions|>"):  # of openai/whisper, and of older folders
        (_, ours), prompt = pair(1), torch.tensor([[THEIRS.sot]])
        ours.tokenizer.special = {name: THEIRS.no_speech}
        assert long_form.LongForm(ours, None, prompt).silence == THEIRS.no_speech


def test_repetition_compresses():
    assert long_form.compression_ratio("no no " * 40) > 2.4
    assert long_form.compression_ratio("a whole other sentence each time") < 1.2
    assert long_form.compression_ratio("") == 0
