"""Training aids for small Whispers: a second reader of the encoder, and shorter windows.

input -> output: log-mel (batch, mel bins, mel frames), labels, what is said in each frame -> loss.
Special: neither leaves a trace in the checkpoint. The reader is a linear layer that is thrown away;
a shorter window is the same model with the first rows of its position table.
"""

import copy
from dataclasses import replace

from torch import nn
from torch.nn import functional as F

from speechlib import tokenizers
from speechlib.torch_models.whisper import Sinusoids


class WithReader(nn.Module):
    """Whisper and, only while it learns, a second reader of the encoder.

    The extra linear layer names what is being said in every frame, which a mixed example knows.
    The encoder then learns to hear within a few hundred steps, and the decoder finds each word
    where it is.
    """

    def __init__(self, whisper, names, share=0.5):
        """names: how many things a frame can be, nothing (0) included; share: of its loss."""
        super().__init__()
        self.whisper = whisper
        self.share = share
        self.reader = nn.Linear(whisper.config.width, names)

    def loss(self, mel, labels, said, first=0):
        """As `Whisper.loss`, plus `share` of the reader's; labels (batch, tokens), said (batch,
        frames): a name each, -100 not counted. The mel may be shorter than the window and begin
        at its frame `first`."""
        whisper = shorter(self.whisper, mel.shape[-1] // 2, first)
        c = whisper.config
        memory = whisper.encode(mel)
        tokens = tokenizers.shift_tokens_right(labels, c.pad, c.start)
        logits = whisper.decode(tokens, memory)
        written = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        heard = F.cross_entropy(self.reader(memory).flatten(0, 1), said.flatten())
        return written + self.share * heard


def shorter(whisper, frames, first=0):
    """The same model, its weights shared, for a window of fewer encoder frames: those from `first`
    on.

    Half the window costs less than half the time. Raises ValueError for a longer window.
    """
    if (frames, first) == (whisper.config.frames, 0):
        return whisper
    if frames < 1 or first < 0 or first + frames > whisper.config.frames:
        raise ValueError(
            f"expected 1 to {whisper.config.frames} encoder frames, got {first} to {first + frames}"
        )
    model, encoder = copy.copy(whisper), copy.copy(whisper.encoder)
    model._modules, encoder._modules = dict(whisper._modules), dict(encoder._modules)
    model.encoder = encoder
    model.config = encoder.config = replace(whisper.config, frames=frames)
    encoder.positions = Sinusoids(frames, whisper.config.width).requires_grad_(False)
    encoder.positions.weight.copy_(whisper.encoder.positions.weight[first : first + frames])
    return model
