"""A recording to its text by models that hear the waveform itself: CTC, SpeechEncoderDecoder.

input -> output: a wave (samples,) at 16 kHz -> (text, tokens).
Special: the checkpoint says whether it was trained on waves of mean 0 and variance 1
(`do_normalize` in preprocessor_config.json, true where that does not name it), and how it spells
(its tokenizer).

Notebook: 13_heads, 17_speech_encoder_decoder
"""

import torch

from speechlib import audio, checkpoints
from speechlib.torch_models import generation
from speechlib.torch_models.word_timing import tokenizer_of

MOST_TOKENS_A_SECOND = 25  # nobody speaks faster, in tokens of any kind


@torch.no_grad()
def written_down(model, wave, beams=1):
    """What a CTC model or a SpeechEncoderDecoder writes: (text, tokens), special tokens left out
    of the text. Raises ValueError for a model that came from no checkpoint (it has no spelling)."""
    tokenizer = tokenizer_of(model)
    heard = torch.from_numpy(normalised(model, wave))[None]
    if hasattr(model, "recognise"):
        tokens = model.recognise(heard, beams=beams)[0]
    else:
        most = 10 + round(MOST_TOKENS_A_SECOND * len(wave) / audio.SAMPLE_RATE)
        most = min(most, model.config.slots or most)  # a Whisper decoder has a last position
        found = generation.generate(model, heard, max_tokens=most, beams=beams)
        tokens = found.tokens[0, 1:].tolist()
    return tokenizer.decode(tokens).strip(), tokens


def normalised(model, wave):
    """The wave as the checkpoint wants it: mean 0 and variance 1, or as it is."""
    file = model.checkpoint.folder / "preprocessor_config.json"
    if not file.is_file() or not checkpoints.read_json(file).get("do_normalize", True):
        return wave
    return audio.normalise(wave)
