"""The public names take what they say, under the names that users type."""

import inspect

import pytest

import speechlib as sl

REQUIRED = inspect.Parameter.empty
CALLS = {
    "load": "source, *, framework='torch', attention='sdpa', dtype='float32', device='cpu'",
    "save": "model, folder",
    "available": "",
    "generate": "model, inputs=None, *, max_tokens, beams=1, length_penalty=1.0, "
    "early_stopping=False, temperature=0.0, seed=None, prompt=None, rules=None, lengths=None, "
    "memory_mask=None, draft=None, cache=True",
    "transcribe": "audio_or_path, model=None, *, words=False, timestamps=False, language=None, "
    "task='transcribe', beams=1",
    "audio.load": "path",
    "audio.log_mel": "wave, mel_bins=80, pad_to_seconds=30",
    "spec_augment.span_mask": "shape, probability, length, lengths=None, min_spans=0, rng=None",
}
BEGINNINGS = {  # more may follow, with defaults
    "trace": "model, pattern='*.weights', edit=None",
    "Whisper.forward": "self, mel, tokens, token_mask=None",
    "Whisper.encode": "self, mel",
    "Whisper.loss": "self, mel, labels, lengths=None",
    "WhisperDecoder.forward": "self, tokens, memory=None, token_mask=None",
    "WavLM.forward": "self, waveform, lengths=None",
    "Speech2Text2.forward": "self, tokens, memory=None, memory_mask=None, token_mask=None",
    "SpeechEncoderDecoder.forward": "self, waveform, tokens, lengths=None, token_mask=None",
    "SpeechEncoderDecoder.encode": "self, waveform, lengths=None",
    "SpeechEncoderDecoder.decode": "self, tokens, memory=None, memory_mask=None, cache=None",
    "SpeechEncoderDecoder.init_cache": "self, batch, slots, memory=None",
    "SpeechEncoderDecoder.loss": "self, waveform, labels, lengths=None",
    "XVector.embed": "self, inputs, lengths=None",
    **{
        f"{head}.{method}": f"self, inputs, {labels}lengths=None"
        for head in ("CTCModel", "SequenceClassifier", "FrameClassifier", "XVector")
        for method, labels in (("forward", ""), ("loss", "labels, "))
    },
}


def parameters(name):
    found = sl
    for part in name.split("."):
        found = getattr(found, part)
    return list(inspect.signature(found).parameters.values())


def wanted(text):
    called = {}
    exec(f"def like({text}): pass", called)  # a signature as it is written in the documentation
    return list(inspect.signature(called["like"]).parameters.values())


@pytest.mark.parametrize("name", [*CALLS, *BEGINNINGS])
def test_signatures(name):
    expected, has = wanted(CALLS.get(name) or BEGINNINGS.get(name, "")), parameters(name)
    assert has[: len(expected)] == expected
    more = has[len(expected) :]
    assert not more if name in CALLS else all(p.default is not REQUIRED for p in more)
