"""Checks of lesson 09, the whole Whisper: cases, references, what goes wrong, honest other ways.

Texts: content/09_whisper.toml. Notebook: 09_whisper
"""

import math
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn import functional as F

from speechlib import attention_masks, checkpoints, generation_rules
from speechlib.configs import BlockConfig, WhisperConfig
from speechlib.lessons.banking import Bank, case
from speechlib.lessons.phrases import say
from speechlib.torch_models import generation, whisper
from speechlib.torch_models.transformer import Block, FeedForward

bank = Bank("09")


def _random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _shaken(module, seed):
    """Random weights in every place, norms and biases too: fresh ones (1 and 0) hide errors."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        wide = parameter.shape[-1] if parameter.dim() > 1 else 4
        fresh = torch.randn(parameter.shape, generator=generator) / math.sqrt(wide)
        is_scale = "norm" in name and name.endswith("weight")
        parameter.data = fresh + 1 if is_scale else 2 * fresh
    return module.eval().requires_grad_(False)


# -- 09.1 frames after the two convolutions

clock = bank.exercise("09.1")


@clock.cases
def clock_cases():
    yield case(600, note="whisper-digits: a window of 6 seconds")
    yield case(3000, note="the published Whisper: a window of 30 seconds")
    yield case(601, note="an odd number of mel frames")
    yield case(1, note="a single mel frame")
    yield case(8, kernel=5, note="wider kernels, the same padding")
    yield case(9, kernel=1, padding=0)
    yield case(20, padding=0, note="nothing is put at the ends")
    yield case(64, strides=(2, 2), note="both convolutions jump")
    yield case(65, strides=(1, 3))
    yield case(50, kernel=4, padding=2, strides=(3, 2))


@clock.reference
def after_convolutions(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames, seconds = mel_frames, 0.01
    for stride in strides:
        frames = (frames + 2 * padding - kernel) // stride + 1
        seconds = seconds * stride
    return frames, seconds


def _clock(mel_frames, strides, one, seconds=None):
    frames = mel_frames
    for stride in strides:
        frames = one(frames, stride)
    return frames, 0.01 * math.prod(strides) if seconds is None else seconds


@clock.mistake("halved")
def clock_halved(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return _clock(mel_frames, strides, lambda n, stride: n // stride)


@clock.mistake("rounded_up")
def clock_rounded_up(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return _clock(mel_frames, strides, lambda n, stride: -(-n // stride))


@clock.mistake("no_plus_one")
def clock_no_plus_one(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return _clock(mel_frames, strides, lambda n, stride: (n + 2 * padding - kernel) // stride)


@clock.mistake("one_padding")
def clock_one_padding(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return _clock(mel_frames, strides, lambda n, stride: (n + padding - kernel) // stride + 1)


@clock.mistake("no_padding")
def clock_no_padding(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return _clock(mel_frames, strides, lambda n, stride: (n - kernel) // stride + 1)


@clock.mistake("fixed")
def clock_fixed(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return after_convolutions(mel_frames)


@clock.mistake("once")
def clock_once(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return after_convolutions(mel_frames, kernel, padding, strides[-1:])


@clock.mistake("mel_seconds")
def clock_mel_seconds(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return after_convolutions(mel_frames, kernel, padding, strides)[0], 0.01


@clock.mistake("faster")
def clock_faster(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames, _ = after_convolutions(mel_frames, kernel, padding, strides)
    return frames, 0.01 / math.prod(strides)


@clock.mistake("turned_round")
def clock_turned_round(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return after_convolutions(mel_frames, kernel, padding, strides)[::-1]


@clock.mistake("always_20_ms")
def clock_always_20_ms(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return after_convolutions(mel_frames, kernel, padding, strides)[0], 0.02


@clock.mistake("strides_added")
def clock_strides_added(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return after_convolutions(mel_frames, kernel, padding, strides)[0], 0.01 * sum(strides)


@clock.mistake("milliseconds")
def clock_milliseconds(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames, seconds = after_convolutions(mel_frames, kernel, padding, strides)
    return frames, 1000 * seconds


@clock.mistake("window_divided")
def clock_window_divided(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames = after_convolutions(mel_frames, kernel, padding, strides)[0]
    return frames, 0.01 * mel_frames / frames


@clock.mistake("fractions")
def clock_fractions(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    return _clock(mel_frames, strides, lambda n, stride: (n + 2 * padding - kernel) / stride + 1)


@clock.mistake("whole_window")
def clock_whole_window(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames, seconds = after_convolutions(mel_frames, kernel, padding, strides)
    return frames, frames * seconds


@clock.variant("by counting")
def clock_by_counting(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames = mel_frames
    for stride in strides:
        frames = len(range(0, frames + 2 * padding - kernel + 1, stride))
    return frames, math.prod(strides) / 100


@clock.variant("with lesson 05's function")
def clock_library(mel_frames, kernel=3, padding=1, strides=(1, 2)):
    frames = mel_frames
    for stride in strides:
        frames = attention_masks.conv_output_length(frames, kernel, stride, padding)
    return [frames, 0.01 * strides[0] * strides[1]]


# -- 09.2 the feed-forward part

forward = bank.exercise("09.2", axes=("batch", "frame", "width"))


def _feed_forward(seed, width, inner, activation="gelu", dropout=0.0):
    config = BlockConfig(width=width, heads=1, feed_forward=inner, activation=activation,
                         activation_dropout=dropout)  # fmt: skip
    return _shaken(FeedForward(config), seed)


@forward.cases
def forward_cases():
    yield case(_feed_forward(1, 4, 16), _random(21, 1, 2, 4), note="two frames of width 4")
    yield case(_feed_forward(2, 4, 8, "relu"), _random(22, 1, 3, 4), note="its activation is ReLU")
    yield case(_feed_forward(3, 6, 6), _random(23, 1, 3, 6), note="nothing grows: 6, 6, 6")
    training = _feed_forward(4, 4, 12, dropout=0.5).train()
    yield case(training, _random(24, 1, 3, 4), note="while it is trained, with dropout")
    yield case(_feed_forward(5, 8, 32), _random(25, 2, 5, 8), note="a batch of two")


@forward.reference
def feed_forward(part, x):
    return part.down(part.dropout(part.activation(part.up(x))))


@forward.mistake("no_activation")
def forward_no_activation(part, x):
    return part.down(part.dropout(part.up(x)))


@forward.mistake("activation_last")
def forward_activation_last(part, x):
    return part.activation(part.down(part.dropout(part.up(x))))


@forward.mistake("activation_first")
def forward_activation_first(part, x):
    return part.down(part.dropout(part.up(part.activation(x))))


@forward.mistake("swapped")
def forward_swapped(part, x):
    return part.up(part.dropout(part.activation(part.down(x))))


@forward.mistake("always_gelu")
def forward_always_gelu(part, x):
    return part.down(part.dropout(F.gelu(part.up(x))))


@forward.mistake("always_relu")
def forward_always_relu(part, x):
    return part.down(part.dropout(F.relu(part.up(x))))


@forward.mistake("no_dropout")
def forward_no_dropout(part, x):
    return part.down(part.activation(part.up(x)))


@forward.mistake("dropout_last")
def forward_dropout_last(part, x):
    return part.dropout(part.down(part.activation(part.up(x))))


@forward.mistake("dropout_early")
def forward_dropout_early(part, x):
    return part.down(part.activation(part.dropout(part.up(x))))


@forward.mistake("no_down")
def forward_no_down(part, x):
    return part.dropout(part.activation(part.up(x)))


@forward.mistake("no_bias")
def forward_no_bias(part, x):
    return part.dropout(part.activation(x @ part.up.weight.T)) @ part.down.weight.T


@forward.mistake("shortcut")
def forward_shortcut(part, x):
    return x + feed_forward(part, x)


@forward.mistake("two_layers")
def forward_two_layers(part, x):
    return part.down(part.up(x))


@forward.mistake("own_gelu")
def forward_own_gelu(part, x):
    return part.down(F.gelu(part.up(x)))


@forward.mistake("own_relu")
def forward_own_relu(part, x):
    return part.down(F.relu(part.up(x)))


@forward.variant("step by step")
def forward_steps(part, x):
    inner = F.linear(x, part.up.weight, part.up.bias)
    inner = part.dropout(part.activation(inner))
    return inner @ part.down.weight.T + part.down.bias


# -- 09.3 one part of a block, with its shortcut and its norm

shortcut = bank.exercise("09.3", axes=("batch", "frame", "width"))


def _block(norm_first, dropout=0.0, width=4):
    config = BlockConfig(width=width, heads=1, feed_forward=8, norm_first=norm_first,
                         dropout=dropout)  # fmt: skip
    return _shaken(Block(config), 31)


def _part(seed, width):
    return _shaken(nn.Linear(width, width), seed)


def _norm(seed, width):
    generator = torch.Generator().manual_seed(seed)
    norm = nn.LayerNorm(width).requires_grad_(False)
    norm.weight.copy_(1 + 0.3 * torch.randn(width, generator=generator))
    norm.bias.copy_(0.3 * torch.randn(width, generator=generator))
    return norm


@shortcut.cases
def shortcut_cases():
    x, part, norm = _random(32, 1, 2, 4), _part(33, 4), _norm(34, 4)
    yield case(_block(True), x, part, norm, note="norm_first is True, as in Whisper")
    yield case(_block(False), x, part, norm, note="norm_first is False, as in the 2017 paper")
    yield case(_block(True, 0.5).train(), x, part, norm, note="while it is trained, norm first")
    yield case(_block(False, 0.5).train(), x, part, norm, note="while it is trained, norm last")
    for norm_first in (True, False):
        x, part, norm = 2 * _random(35, 2, 3, 6) + 1, _part(36, 6), _norm(37, 6)
        yield case(_block(norm_first, width=6), x, part, norm, note="a batch of two")


@shortcut.reference
def add_part(block, x, part, norm):
    if block.norm_first:
        return x + block.dropout(part(norm(x)))
    return norm(x + block.dropout(part(x)))


@shortcut.mistake("always_last")
def shortcut_always_last(block, x, part, norm):
    return norm(x + block.dropout(part(x)))


@shortcut.mistake("always_first")
def shortcut_always_first(block, x, part, norm):
    return x + block.dropout(part(norm(x)))


@shortcut.mistake("turned_round")
def shortcut_turned_round(block, x, part, norm):
    if block.norm_first:
        return norm(x + block.dropout(part(x)))
    return x + block.dropout(part(norm(x)))


@shortcut.mistake("no_shortcut")
def shortcut_none(block, x, part, norm):
    if block.norm_first:
        return block.dropout(part(norm(x)))
    return norm(block.dropout(part(x)))


@shortcut.mistake("normed_shortcut")
def shortcut_normed(block, x, part, norm):
    if block.norm_first:
        x = norm(x)
        return x + block.dropout(part(x))
    return norm(x + block.dropout(part(x)))


@shortcut.mistake("norm_behind_part")
def shortcut_norm_behind_part(block, x, part, norm):
    if block.norm_first:
        return x + block.dropout(part(norm(x)))
    return x + norm(block.dropout(part(x)))


@shortcut.mistake("both_norms")
def shortcut_both_norms(block, x, part, norm):
    if block.norm_first:
        return x + block.dropout(part(norm(x)))
    return norm(x + block.dropout(part(norm(x))))


@shortcut.mistake("norm_after_part")
def shortcut_norm_after_part(block, x, part, norm):
    if block.norm_first:
        return x + block.dropout(norm(part(x)))
    return norm(x + block.dropout(part(x)))


@shortcut.mistake("two_norms")
def shortcut_two_norms(block, x, part, norm):
    if block.norm_first:
        return norm(x + block.dropout(part(norm(x))))
    return norm(x + block.dropout(part(x)))


@shortcut.mistake("last_no_shortcut")
def shortcut_last_no_shortcut(block, x, part, norm):
    if block.norm_first:
        return x + block.dropout(part(norm(x)))
    return norm(block.dropout(part(x)))


@shortcut.mistake("no_norm")
def shortcut_no_norm(block, x, part, norm):
    return x + block.dropout(part(x))


@shortcut.mistake("no_dropout")
def shortcut_no_dropout(block, x, part, norm):
    return x + part(norm(x)) if block.norm_first else norm(x + part(x))


@shortcut.mistake("dropout_on_all")
def shortcut_dropout_on_all(block, x, part, norm):
    if block.norm_first:
        return block.dropout(x + part(norm(x)))
    return norm(block.dropout(x + part(x)))


@shortcut.mistake("first_no_dropout")
def shortcut_first_no_dropout(block, x, part, norm):
    return x + part(norm(x))


@shortcut.mistake("last_no_dropout")
def shortcut_last_no_dropout(block, x, part, norm):
    return norm(x + part(x))


@shortcut.mistake("always_normed_shortcut")
def shortcut_always_normed(block, x, part, norm):
    x = norm(x)
    return x + block.dropout(part(x))


@shortcut.mistake("first_and_nothing_else")
def shortcut_first_and_nothing_else(block, x, part, norm):
    return block.dropout(part(norm(x)))


@shortcut.mistake("no_shortcut_no_dropout")
def shortcut_none_no_dropout(block, x, part, norm):
    return part(norm(x)) if block.norm_first else norm(part(x))


@shortcut.variant("one expression")
def shortcut_one_expression(block, x, part, norm):
    inside = norm(x) if block.norm_first else x
    total = x + block.dropout(part(inside))
    return total if block.norm_first else norm(total)


# -- 09.4 the encoder

ears = bank.exercise("09.4", axes=("batch", "frame", "width"))


def _model(seed, width=6, frames=5, layers=2, mel_bins=3, vocabulary=7, slots=9):
    block = {"width": width, "heads": 2, "feed_forward": 8, "key_bias": False}
    config = WhisperConfig(
        encoder=BlockConfig(**block),
        decoder=BlockConfig(**block, cross_attention=True),
        encoder_layers=max(layers, 1), decoder_layers=max(layers, 1),
        vocabulary=vocabulary, mel_bins=mel_bins, frames=frames, slots=slots,
        pad=0, start=1, end=0,
    )  # fmt: skip
    model = whisper.Whisper(config)
    for stack in (model.encoder, model.decoder):
        stack.blocks = stack.blocks[:layers]  # a config has no empty stack; a check may
    return _shaken(model, seed)


@ears.cases
def ears_cases():
    encoder = _model(41).encoder
    yield case(encoder, _random(42, 1, 3, 10), note="10 mel frames, width 6, 2 blocks")
    yield case(_model(43, frames=6).encoder, _random(44, 1, 3, 12), note="6 frames of width 6")
    yield case(_model(45, layers=0).encoder, _random(46, 1, 3, 10), note="no block at all")
    yield case(_model(47, layers=3, width=8).encoder, _random(48, 2, 3, 10), note="a batch of two")


@ears.reference
def encode(encoder, mel):
    x = F.gelu(encoder.conv1(mel))
    x = F.gelu(encoder.conv2(x))
    x = x.transpose(1, 2) + encoder.positions.weight
    for block in encoder.blocks:
        x = block(x)
    return encoder.norm(x)


def _turned(x):
    return x.transpose(1, 2)


def _encode(encoder, mel, one=F.gelu, two=F.gelu, turn=_turned, place=None, norm=None, blocks=None):
    x = turn(two(encoder.conv2(one(encoder.conv1(mel)))))
    x = x + encoder.positions.weight if place is None else place(x, encoder.positions.weight)
    for block in encoder.blocks if blocks is None else blocks:
        x = block(x)
    return encoder.norm(x) if norm is None else norm(x)


def _same(x):
    return x


@ears.mistake("no_gelu")
def ears_no_gelu(encoder, mel):
    return _encode(encoder, mel, one=_same, two=_same)


@ears.mistake("no_first_gelu")
def ears_no_first_gelu(encoder, mel):
    return _encode(encoder, mel, one=_same)


@ears.mistake("no_second_gelu")
def ears_no_second_gelu(encoder, mel):
    return _encode(encoder, mel, two=_same)


@ears.mistake("relu")
def ears_relu(encoder, mel):
    return _encode(encoder, mel, one=F.relu, two=F.relu)


@ears.mistake("reshaped")
def ears_reshaped(encoder, mel):
    return _encode(encoder, mel, turn=lambda x: x.reshape(x.shape[0], x.shape[2], x.shape[1]))


@ears.mistake("not_turned")
def ears_not_turned(encoder, mel):
    return _encode(encoder, mel, turn=_same)


@ears.mistake("no_positions")
def ears_no_positions(encoder, mel):
    return _encode(encoder, mel, place=lambda x, table: x)


@ears.mistake("positions_late")
def ears_positions_late(encoder, mel):
    def late(x):
        return encoder.norm(x + encoder.positions.weight)

    return _encode(encoder, mel, place=lambda x, table: x, norm=late)


@ears.mistake("positions_times")
def ears_positions_times(encoder, mel):
    return _encode(encoder, mel, place=lambda x, table: x * table)


@ears.mistake("scaled")
def ears_scaled(encoder, mel):
    return _encode(encoder, mel, place=lambda x, table: x * x.shape[-1] ** 0.5 + table)


@ears.mistake("no_norm")
def ears_no_norm(encoder, mel):
    return _encode(encoder, mel, norm=_same)


@ears.mistake("norm_each_time")
def ears_norm_each_time(encoder, mel):
    blocks = [lambda x, block=block: encoder.norm(block(x)) for block in encoder.blocks]
    return _encode(encoder, mel, norm=_same if blocks else None, blocks=blocks)


@ears.mistake("positions_each_time")
def ears_positions_each_time(encoder, mel):
    table = encoder.positions.weight
    blocks = [lambda x, block=block: block(x + table) for block in encoder.blocks]
    return _encode(encoder, mel, place=lambda x, table: x, blocks=blocks)


@ears.mistake("shortcut_again")
def ears_shortcut_again(encoder, mel):
    blocks = [lambda x, block=block: x + block(x) for block in encoder.blocks]
    return _encode(encoder, mel, blocks=blocks)


@ears.mistake("positions_bent")
def ears_positions_bent(encoder, mel):
    return _encode(encoder, mel, two=_same, place=lambda x, table: F.gelu(x + table))


@ears.mistake("norm_too_early")
def ears_norm_too_early(encoder, mel):
    return _encode(encoder, mel, place=lambda x, t: encoder.norm(x + t), norm=_same)


@ears.mistake("one_block")
def ears_one_block(encoder, mel):
    return _encode(encoder, mel, blocks=encoder.blocks[:1])


@ears.mistake("same_input")
def ears_same_input(encoder, mel):
    start = _encode(encoder, mel, blocks=[], norm=_same)
    x = start
    for block in encoder.blocks:
        x = block(start)
    return encoder.norm(x)


@ears.mistake("no_blocks")
def ears_no_blocks(encoder, mel):
    return _encode(encoder, mel, blocks=[])


@ears.variant("the library's")
def ears_library(encoder, mel):
    return encoder(mel)


@ears.variant("positions looked up, nn.GELU")
def ears_looked_up(encoder, mel):
    act = nn.GELU()
    x = act(encoder.conv2(act(encoder.conv1(mel)))).permute(0, 2, 1)
    x = encoder.positions(torch.arange(x.shape[1])) + x
    return encoder.norm(nn.Sequential(*encoder.blocks)(x))


# -- 09.5 the decoder

writer = bank.exercise("09.5", axes=("batch", "token", "vocabulary"))


@writer.cases
def writer_cases():
    for seed, batch, length, options, note in (
        (51, 1, 3, {}, "three tokens, 2 blocks"),
        (52, 1, 1, {}, "one token alone"),
        (53, 1, 4, {"layers": 0}, "no block at all"),
        (54, 2, 5, {"layers": 3, "width": 8}, "a batch of two"),
        (55, 1, 7, {"slots": 7}, "as long as the position table"),
    ):
        model = _model(seed, **options)
        tokens = torch.randint(7, (batch, length), generator=torch.Generator().manual_seed(seed))
        memories = model.decoder.memories(_random(seed + 10, batch, 5, model.config.width))
        yield case(model.decoder, tokens, memories, note=note)


@writer.reference
def decode(decoder, tokens, memories):
    place = torch.arange(tokens.shape[1])
    mask = attention_masks.causal_mask(place, place)
    x = decoder.token_embedding(tokens) + decoder.positions(place)
    for block, memory in zip(decoder.blocks, memories, strict=True):
        x = block(x, mask, memory=memory)
    return decoder.norm(x) @ decoder.token_embedding.weight.T


def _decode(decoder, tokens, memories, mask=attention_masks.causal_mask, first=0, scale=1.0,
            places=True, blocks=None, norm=None):  # fmt: skip
    place = torch.arange(tokens.shape[1])
    x = decoder.token_embedding(tokens) * scale
    x = x + decoder.positions(place + first) if places else x
    mask = mask(place, place) if mask else None
    pairs = list(zip(decoder.blocks, memories, strict=True))
    for block, memory in pairs if blocks is None else pairs[blocks]:
        x = block(x, mask, memory=memory)
    x = decoder.norm(x) if norm is None else norm(x)
    return x @ decoder.token_embedding.weight.T


@writer.mistake("places_of_tokens")
def writer_places_of_tokens(decoder, tokens, memories):
    place = torch.arange(tokens.shape[1])
    mask = attention_masks.causal_mask(place, place)
    x = decoder.token_embedding(tokens) + decoder.positions(tokens)
    for block, memory in zip(decoder.blocks, memories, strict=True):
        x = block(x, mask, memory=memory)
    return decoder.norm(x) @ decoder.token_embedding.weight.T


@writer.mistake("memories_turned")
def writer_memories_turned(decoder, tokens, memories):
    return _decode(decoder, tokens, memories[::-1])


@writer.mistake("no_mask")
def writer_no_mask(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, mask=None)


@writer.mistake("looks_ahead")
def writer_looks_ahead(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, mask=lambda q, k: k[None, :] >= q[:, None])


@writer.mistake("not_itself")
def writer_not_itself(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, mask=lambda q, k: k[None, :] < q[:, None])


@writer.mistake("mask_inverted")
def writer_mask_inverted(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, mask=lambda q, k: k[None, :] > q[:, None])


@writer.mistake("no_positions")
def writer_no_positions(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, places=False)


@writer.mistake("from_one")
def writer_from_one(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, first=1)


@writer.mistake("scaled")
def writer_scaled(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, scale=decoder.config.width**0.5)


@writer.mistake("no_memory")
def writer_no_memory(decoder, tokens, memories):
    return _decode(decoder, tokens, [None] * len(memories))


@writer.mistake("first_memory")
def writer_first_memory(decoder, tokens, memories):
    return _decode(decoder, tokens, memories[:1] * len(memories))


@writer.mistake("one_block")
def writer_one_block(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, blocks=slice(0, 1))


@writer.mistake("no_norm")
def writer_no_norm(decoder, tokens, memories):
    return _decode(decoder, tokens, memories, norm=_same)


@writer.mistake("no_output")
def writer_no_output(decoder, tokens, memories):
    place = torch.arange(tokens.shape[1])
    mask = attention_masks.causal_mask(place, place)
    x = decoder.token_embedding(tokens) + decoder.positions(place)
    for block, memory in zip(decoder.blocks, memories, strict=True):
        x = block(x, mask, memory=memory)
    return decoder.norm(x)


@writer.mistake("softmax")
def writer_softmax(decoder, tokens, memories):
    return decode(decoder, tokens, memories).softmax(dim=-1)


@writer.mistake("last_only")
def writer_last_only(decoder, tokens, memories):
    return decode(decoder, tokens, memories)[:, -1]


writer.equivalent("True -> False", "there are as many memories as blocks")


@writer.variant("the table as a linear layer, a mask by tril")
def writer_linear(decoder, tokens, memories):
    length = tokens.shape[1]
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    x = decoder.token_embedding.weight[tokens] + decoder.positions.weight[:length]
    for layer, block in enumerate(decoder.blocks):
        x = block(x, mask=mask, memory=memories[layer])
    return F.linear(decoder.norm(x), decoder.token_embedding.weight)


_decoder_forward = whisper.TextDecoder.forward


@writer.adapt
def writer_as_library(fn):
    """The learner's decoder knows no cache: what went before is kept here and read again. Where
    some tokens are padding the library's own answers: the exercise has none."""

    def decoder_forward(self, tokens, memory=None, token_mask=None, cache=None, memory_mask=None):
        beams = cache is not None and len(cache.memory[0][0]) != len(tokens)
        if token_mask is not None or memory_mask is not None or beams:  # the lesson has none
            return _decoder_forward(self, tokens, memory, token_mask, cache, memory_mask)
        if cache is None:
            return fn(self, tokens, self.memories(memory))
        before = getattr(cache, "said", tokens[:, :0])
        cache.said = torch.cat([before, tokens], dim=1)
        for layer in cache.layers:
            layer.length = cache.said.shape[1]
        return fn(self, cache.said, cache.memory)[:, before.shape[1] :]

    return decoder_forward


# -- 09.6 from their names to ours

names = bank.exercise("09.6")

FEW = {
    "encoder.conv1": "encoder.conv1",
    "encoder.layers.*.fc1": "encoder.blocks.*.feed_forward.up",
    "decoder.layers.*.self_attn.q_proj": "decoder.blocks.*.self_attention.query",
    "decoder.layers.*.encoder_attn.q_proj": "decoder.blocks.*.cross_attention.query",
    "decoder.embed_tokens": "decoder.token_embedding",
}


@names.cases
def names_cases():
    rows = FEW
    yield case(["decoder.embed_tokens.weight"], rows, note="no layer number")
    yield case(["encoder.conv1.bias"], rows, note="the 1 of conv1 is no layer number")
    yield case(["encoder.layers.0.fc1.weight", "encoder.layers.3.fc1.bias"], rows,
               note="two layers")  # fmt: skip
    yield case(["decoder.layers.11.self_attn.q_proj.weight",
                "decoder.layers.11.encoder_attn.q_proj.weight"], rows,
               note="a layer number of two digits")  # fmt: skip
    yield case(["encoder.conv1.weight", "encoder.layers.0.fc3.weight", "encoder.conv1.bias",
                "decoder.norm.bias"], rows, note="two of the four names have no row")  # fmt: skip
    yield case(["encoder.layers.0.adapter.fc1.weight"], rows,
               note="ends like a row, but has no row of its own")  # fmt: skip
    yield case(["layers.1.fc1.weight"], {"layers.*.fc1": "blocks.*.up"}, note="other rows")
    every = [name.replace("*", "2") + leaf for name in checkpoints.ROWS["whisper"]
             for leaf in (".weight", ".bias")]  # fmt: skip
    yield case(every, checkpoints.ROWS["whisper"], note="all rows of Whisper")


@names.reference
def our_names(names, rows):
    found, without = {}, []
    for name in names:
        *module, leaf = name.split(".")
        row = rows.get(".".join("*" if word.isdigit() else word for word in module))
        if row is None:
            without.append(name)
            continue
        for number in filter(str.isdigit, module):
            row = row.replace("*", number)
        found[name] = f"{row}.{leaf}"
    if without:
        raise ValueError(f"no row for {', '.join(without)}")
    return found


def _has_row(name, rows):
    *module, _ = name.split(".")
    return ".".join("*" if word.isdigit() else word for word in module) in rows


RAISES, LISTS, RETURNS = "stops with a ValueError", "its message lists", "it returns"
ALL_LISTED = "all names without a row, and no other"


@names.run
def names_run(fn, names, rows):
    without = [name for name in names if not _has_row(name, rows)]
    try:
        answer = fn(names, rows)
    except ValueError as error:
        if not without:
            raise
        return {RAISES: "yes", LISTS: _listed(str(error), names, without), RETURNS: "nothing"}
    if not without:
        return answer
    if isinstance(answer, dict):
        answer = ", ".join(f"{a} -> {b}" for a, b in answer.items()) or "an empty dict"
    elif isinstance(answer, BaseException):
        answer = f"a {type(answer).__name__}, which nobody raised"
    return {RAISES: "no", LISTS: "there is no message", RETURNS: str(answer)}


def _listed(text, names, without):
    """What the message of an error lists, in words."""
    there = [name for name in without if name in text]
    if any(name in text for name in set(names) - set(without)):
        return "also names that have a row" if there else "only names that have a row"
    if len(there) == len(without):
        return ALL_LISTED
    if "*" in text:
        return "patterns with stars"
    return "only some of the names without a row" if there else "none of the names without a row"


def _renamed(names, rows, rename, without="stop"):
    found, missing = {}, []
    for name in names:
        *module, leaf = name.split(".")
        new = rename(module, leaf, rows)
        if new is None:
            missing.append(name)
        else:
            found[name] = new
    if missing and without == "stop":
        raise ValueError(", ".join(missing))
    if without == "keep":
        found |= {name: name for name in missing}
    return found


def _right(module, leaf, rows):
    row = rows.get(".".join("*" if word.isdigit() else word for word in module))
    for number in filter(str.isdigit, module):
        row = row and row.replace("*", number)
    return row and f"{row}.{leaf}"


@names.mistake("skips")
def names_skips(names, rows):
    return _renamed(names, rows, _right, without="skip")


@names.mistake("keeps")
def names_keeps(names, rows):
    return _renamed(names, rows, _right, without="keep")


@names.mistake("key_error")
def names_key_error(names, rows):
    found = {}
    for name in names:
        *module, leaf = name.split(".")
        row = rows[".".join("*" if word.isdigit() else word for word in module)]
        number = next(filter(str.isdigit, module), "")
        found[name] = f"{row.replace('*', number)}.{leaf}"
    return found


@names.mistake("ours_first")
def names_ours_first(names, rows):
    return {ours: theirs for theirs, ours in our_names(names, rows).items()}


@names.mistake("lists_patterns")
def names_lists_patterns(names, rows):
    try:
        return our_names(names, rows)
    except ValueError:
        without = [name for name in names if not _has_row(name, rows)]
        stars = [".".join("*" if word.isdigit() else word for word in name.split("."))
                 for name in without]  # fmt: skip
        raise ValueError(", ".join(stars)) from None


@names.mistake("lists_nothing")
def names_lists_nothing(names, rows):
    if all(_has_row(name, rows) for name in names):
        return our_names(names, rows)
    raise ValueError("some names have no row")


@names.mistake("returns_error")
def names_returns_error(names, rows):
    try:
        return our_names(names, rows)
    except ValueError as error:
        return error


@names.mistake("first_only")
def names_first_only(names, rows):
    for name in names:
        if not _has_row(name, rows):
            raise ValueError(f"no row for {name}")
    return our_names(names, rows)


@names.mistake("lists_all")
def names_lists_all(names, rows):
    try:
        return our_names(names, rows)
    except ValueError:
        raise ValueError(f"some of {names} have no row") from None


@names.mistake("no_leaf")
def names_no_leaf(names, rows):
    return _renamed(names, rows, lambda m, leaf, r: (_right(m, leaf, r) or "").rpartition(".")[0]
                    or None)  # fmt: skip


@names.mistake("always_weight")
def names_always_weight(names, rows):
    return _renamed(names, rows, lambda m, leaf, r: _right(m, "weight", r))


@names.mistake("star_left")
def names_star_left(names, rows):
    def rename(module, leaf, rows):
        row = rows.get(".".join("*" if word.isdigit() else word for word in module))
        return row and f"{row}.{leaf}"

    return _renamed(names, rows, rename)


@names.mistake("always_zero")
def names_always_zero(names, rows):
    def rename(module, leaf, rows):
        return _right([("0" if word.isdigit() else word) for word in module], leaf, rows)

    return _renamed(names, rows, rename)


@names.mistake("one_digit")
def names_one_digit(names, rows):
    def rename(module, leaf, rows):
        return _right([(word[0] if word.isdigit() else word) for word in module], leaf, rows)

    return _renamed(names, rows, rename)


@names.mistake("two_digits_unknown")
def names_two_digits_unknown(names, rows):
    def rename(module, leaf, rows):
        return None if any(w.isdigit() and len(w) > 1 for w in module) else _right(
            module, leaf, rows)  # fmt: skip

    return _renamed(names, rows, rename)


@names.mistake("digits_anywhere")
def names_digits_anywhere(names, rows):
    def rename(module, leaf, rows):
        digits = any(c.isdigit() for word in module if not word.isdigit() for c in word)
        return None if digits else _right(module, leaf, rows)

    return _renamed(names, rows, rename)


@names.mistake("loose")
def names_loose(names, rows):
    def rename(module, leaf, rows):
        for theirs, ours in rows.items():
            if fnmatchcase(".".join(module), theirs):
                number = next(filter(str.isdigit, module), "")
                return f"{ours.replace('*', number)}.{leaf}"
        return None

    return _renamed(names, rows, rename)


@names.variant("regular expression")
def names_regular_expression(names, rows):
    import re

    unknown = [name for name in names if not _has_row(name, rows)]
    if unknown:
        raise ValueError(f"{len(unknown)} names without a row: {unknown}")
    result = {}
    for name in names:
        module, leaf = name.rsplit(".", 1)
        number = re.search(r"\.(\d+)\.", name)
        row = rows[re.sub(r"\.\d+(?=\.|$)", ".*", module)]
        result[name] = (row.replace("*", number[1]) if number else row) + "." + leaf
    return result


@names.adapt
def names_as_library(fn):
    def our_name(name, system, prefix=""):
        short = name.removeprefix(prefix)
        try:
            return fn([short], checkpoints.ROWS[system])[short]
        except ValueError:
            return None

    return our_name


# -- 09.7 greedy search

search = bank.exercise("09.7", axes=("batch", "token"))


class Chain:
    """Stands for a model: what comes next depends on the last token and on how many there are."""

    def __init__(self, follows, vocabulary=6, random=None):
        self.table = torch.zeros(vocabulary, vocabulary)
        for token, following in enumerate(follows):
            self.table[token, following] = 1.0
        self.random = random  # seed of scores that change with the length

    def __call__(self, tokens):
        logits = self.table[tokens[:, -1]]
        if self.random is not None:
            shape = (len(tokens), self.table.shape[1])
            logits = logits + 1.5 * _random(100 * self.random + tokens.shape[1], *shape)
        return logits


@search.cases
def search_cases():
    to_end = Chain([1, 2, 3, 4, 0, 0])
    yield case(to_end, torch.tensor([[1]]), 0, 8, note="1, 2, 3, 4, then the end token 0")
    yield case(to_end, torch.tensor([[1]]), 0, 2, note="only two new tokens are asked for")
    yield case(to_end, torch.tensor([[5, 1, 2]]), 0, 6, note="a prompt of three tokens")
    yield case(to_end, torch.tensor([[1], [3]]), 0, 8, note="the second row ends first")
    yield case(to_end, torch.tensor([[0, 1], [0, 2]]), 0, 5, note="the end token is in the prompt")
    yield case(to_end, torch.tensor([[2, 0], [5, 1]]), 0, 8, note="a prompt ends with the end")
    yield case(Chain([0, 0, 3, 2, 1, 5]), torch.tensor([[2], [4]]), 1, 5,
               note="the end token is 1; the first row never ends")  # fmt: skip
    yield case(to_end, torch.tensor([[1]]), 0, 4, note="the end comes with the last token")
    for seed in range(3):
        chain = Chain([1, 2, 3, 4, 5, 0], random=seed)
        yield case(chain, torch.tensor([[1, 2], [3, 4], [5, 5]]), 0, 9, note="random")


@search.run
def search_run(fn, next_logits, tokens, end, max_tokens):
    """A loop without an end is stopped; asking for each row by itself is allowed."""
    asked, enough = [0], 2 * (max_tokens + 2) * len(tokens)

    def counted(tokens):
        asked[0] += 1
        if asked[0] > enough:
            raise RuntimeError(say("explain.endless", limit="max_tokens", n=max_tokens))
        return next_logits(tokens)

    return fn(counted, tokens, end, max_tokens)


@search.reference
def greedy_search(next_logits, tokens, end, max_tokens):
    finished = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(max_tokens):
        new = next_logits(tokens).argmax(dim=-1)
        new = torch.where(finished, end, new)
        tokens = torch.cat([tokens, new[:, None]], dim=1)
        finished = finished | (new == end)
        if finished.all():
            break
    return tokens


def _search(next_logits, tokens, end, max_tokens, stop=torch.all, fill=True, begun=False):
    finished = (tokens == end).any(dim=1) if begun else torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(max_tokens):
        new = next_logits(tokens).argmax(dim=-1)
        if fill:
            new = torch.where(finished, end, new)
        tokens = torch.cat([tokens, new[:, None]], dim=1)
        finished = finished | (new == end)
        if stop(finished):
            break
    return tokens


@search.mistake("last_token_only")
def search_last_token_only(next_logits, tokens, end, max_tokens):
    ended, newest = torch.zeros(len(tokens), dtype=torch.bool), tokens
    for _ in range(max_tokens):
        best = torch.where(ended, end, next_logits(newest).argmax(dim=-1))
        newest = best[:, None]
        tokens, ended = torch.cat([tokens, newest], dim=1), ended | (best == end)
        if ended.all():
            break
    return tokens


@search.mistake("end_is_0")
def search_end_is_0(next_logits, tokens, end, max_tokens):
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(max_tokens):
        best = torch.where(ended, 0, next_logits(tokens).argmax(dim=-1))
        tokens, ended = torch.cat([tokens, best[:, None]], dim=1), ended | (best == end)
        if ended.all():
            break
    return tokens


@search.mistake("never_stops")
def search_never_stops(next_logits, tokens, end, max_tokens):
    return _search(next_logits, tokens, end, max_tokens, stop=lambda f: False, fill=False)


@search.mistake("fills_to_the_limit")
def search_fills(next_logits, tokens, end, max_tokens):
    return _search(next_logits, tokens, end, max_tokens, stop=lambda f: False)


@search.mistake("first_row_stops_all")
def search_any(next_logits, tokens, end, max_tokens):
    return _search(next_logits, tokens, end, max_tokens, stop=torch.any)


@search.mistake("writes_on")
def search_writes_on(next_logits, tokens, end, max_tokens):
    return _search(next_logits, tokens, end, max_tokens, fill=False)


@search.mistake("all_at_once")
def search_all_at_once(next_logits, tokens, end, max_tokens):
    for _ in range(max_tokens):
        new = next_logits(tokens).argmax(dim=-1)
        tokens = torch.cat([tokens, new[:, None]], dim=1)
        if (new == end).all():
            break
    return tokens


@search.mistake("prompt_ends")
def search_prompt_ends(next_logits, tokens, end, max_tokens):
    return _search(next_logits, tokens, end, max_tokens, begun=True)


@search.mistake("last_one_ends")
def search_last_one_ends(next_logits, tokens, end, max_tokens):
    for _ in range(max_tokens):
        finished = tokens[:, -1] == end
        new = torch.where(finished, end, next_logits(tokens).argmax(dim=-1))
        tokens = torch.cat([tokens, new[:, None]], dim=1)
        if (new == end).all():
            break
    return tokens


@search.mistake("only_new")
def search_only_new(next_logits, tokens, end, max_tokens):
    return greedy_search(next_logits, tokens, end, max_tokens)[:, tokens.shape[1] :]


@search.mistake("counts_prompt")
def search_counts_prompt(next_logits, tokens, end, max_tokens):
    return greedy_search(next_logits, tokens, end, max_tokens - tokens.shape[1])


@search.mistake("no_end_token")
def search_no_end_token(next_logits, tokens, end, max_tokens):
    long = greedy_search(next_logits, tokens, end, max_tokens)
    return long[:, :-1] if (long[:, -1] == end).all() else long


@search.mistake("one_more")
def search_one_more(next_logits, tokens, end, max_tokens):
    return greedy_search(next_logits, tokens, end, max_tokens + 1)


@search.mistake("no_limit")
def search_no_limit(next_logits, tokens, end, max_tokens):
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    while not ended.all():
        best = torch.where(ended, end, next_logits(tokens).argmax(dim=-1))
        tokens, ended = torch.cat([tokens, best[:, None]], dim=1), ended | (best == end)
    return tokens


@search.variant("each row by itself")
def search_each_row(next_logits, tokens, end, max_tokens):
    rows = []
    for row in range(len(tokens)):
        said = tokens
        for _ in range(max_tokens):
            new = next_logits(said).argmax(dim=-1)[:, None]
            said = torch.cat([said, new], dim=1)
            if new[row] == end:
                break
        rows.append(said[row].tolist())
    longest = max(map(len, rows))
    return torch.tensor([row + [end] * (longest - len(row)) for row in rows])


@search.variant("row by row")
def search_row_by_row(next_logits, tokens, end, max_tokens):
    said, done = tokens.tolist(), [False] * len(tokens)
    for _ in range(max_tokens):
        if all(done):
            break
        chosen = next_logits(torch.tensor(said)).max(dim=1).indices.tolist()
        for row, token in enumerate(chosen):
            said[row].append(end if done[row] else token)
            done[row] = done[row] or token == end
    return torch.tensor(said)


@search.adapt
def search_as_library(fn):
    """The learner's loop chooses the tokens; rules and log-probabilities are kept beside it."""

    def library(model, memory, tokens, max_tokens, rules=(), cached=True):
        begin, steps = tokens.shape[1], []
        end, pad = generation.end_and_pad(model, tokens.device)

        def next_logits(tokens):
            logits = model.decode(tokens, memory)[:, -1].float()
            if rules:
                scores, so_far = logits.cpu().numpy(), tokens.cpu().numpy()
                allowed = generation_rules.allowed_tokens(rules, scores, so_far, begin)
                hidden = ~torch.from_numpy(allowed).to(logits.device)
                logits = logits.masked_fill(hidden, -torch.inf)
            steps.append(logits.log_softmax(dim=-1))
            return logits

        said = fn(next_logits, tokens, int(end[0]), max_tokens)
        new = said[:, begin:]
        ended = torch.isin(new, end).cumsum(dim=1) - torch.isin(new, end).int() > 0
        sure = torch.stack(steps, dim=1)[:, : new.shape[1]]
        sure = sure.gather(2, new[..., None])[..., 0].masked_fill(ended, 0.0)
        new = torch.where(ended, pad, new)
        return generation.Generation(torch.cat([tokens, new], dim=1), sure.sum(dim=1), sure)

    return library


search.equivalent("-1 -> 1", "the same axis of (batch, vocabulary)")

# -- 09.8 the first layer that differs

debug = bank.exercise("09.8")


def _layers(*values):
    return {f"encoder.blocks.{i}.hidden": value for i, value in enumerate(values)}


@debug.cases
def debug_cases():
    right = _layers(*(_random(80 + i, 1, 3, 4) for i in range(4)))

    def wrong(*changes):
        return {p: v + c for (p, v), c in zip(right.items(), changes, strict=True)}

    spot = torch.zeros(1, 3, 4)
    spot[0, 1, 2] = 1.0
    yield case(right, wrong(0, 0, 0.5, 2.0), note="the third layer is the first that differs")
    yield case(right, wrong(0, 0, 0, 0), note="all the same")
    yield case(right, wrong(1e-6, -2e-6, 1e-6, 3e-6), note="only rounding")
    yield case(right, wrong(2e-5, -6e-5, 5e-5, 7e-5), note="every number within tolerance")
    yield case(right, wrong(1e-6, -0.5 * spot, 3.0, 0.2), note="one number is too small")
    yield case(right, wrong(0, torch.nan, torch.nan, torch.nan), note="from the second on: NaN")
    yield case(right, wrong(0, spot - 1 / 12, 0.3, 0.1), note="a difference whose mean is 0")
    yield case(right, wrong(0, 0.001 * spot, 0, 0), note="one number, by 0.001")
    yield case(right, wrong(0, 0.01 * spot, 5, 5), tolerance=0.1, note="tolerance 0.1")
    yield case(right, wrong(0, 0.5 * spot, 0, -0.5 * spot), note="one too large, one too small")
    paths = [f"encoder.blocks.{i}.hidden" for i in (2, 10)] + ["decoder.blocks.0.hidden"]
    named = {path: _random(90, 1, 2, 3) for path in paths}
    for changed in (2, 3):
        both = {p: v + (p in paths[:changed]) for p, v in named.items()}
        yield case(named, both, note="in the order of the layers, which is not that of the names")
    loud = {paths[0]: torch.full((1, 2, 3), 1024.0)}
    yield case(loud, {p: v + 1 / 128 for p, v in loud.items()}, note="large numbers, 0.008 apart")


@debug.reference
def first_difference(right, wrong, tolerance=1e-4):
    for path in right:
        gap = (right[path] - wrong[path]).abs().max()
        if not gap <= tolerance:
            return path
    return None


def _gaps(right, wrong, measure):
    return {path: float(measure(right[path] - wrong[path])) for path in right}


def _first(gaps, differs):
    return next((path for path, gap in gaps.items() if differs(gap)), None)


def _largest(x):
    return x.abs().max()


@debug.mistake("nan")
def debug_nan(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, _largest), lambda gap: gap > tolerance)


@debug.mistake("every_one")
def debug_every_one(right, wrong, tolerance=1e-4):
    return [path for path, gap in _gaps(right, wrong, _largest).items() if not gap <= tolerance]


@debug.mistake("its_number")
def debug_its_number(right, wrong, tolerance=1e-4):
    found = first_difference(right, wrong, tolerance)
    return None if found is None else list(right).index(found)


@debug.mistake("first_layer_only")
def debug_first_layer_only(right, wrong, tolerance=1e-4):
    path = next(iter(right))
    return None if (right[path] - wrong[path]).abs().max() <= tolerance else path


@debug.mistake("empty_text")
def debug_empty_text(right, wrong, tolerance=1e-4):
    return first_difference(right, wrong, tolerance) or ""


@debug.mistake("signed")
def debug_signed(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, torch.max), lambda gap: not gap <= tolerance)


@debug.mistake("signed_and_nan")
def debug_signed_and_nan(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, torch.max), lambda gap: gap > tolerance)


def _outside():
    """abs() around the largest of the signed differences, in four ways to write it."""
    for name, sign, differs in (
        ("abs_outside", 1, lambda gap, tolerance: not gap <= tolerance),
        ("abs_outside_turned", -1, lambda gap, tolerance: not gap <= tolerance),
        ("abs_outside_and_nan", 1, lambda gap, tolerance: gap > tolerance),
        ("abs_outside_turned_and_nan", -1, lambda gap, tolerance: gap > tolerance),
    ):

        def outside(right, wrong, tolerance=1e-4, sign=sign, differs=differs):
            gaps = _gaps(right, wrong, lambda gap: (sign * gap).max().abs())
            return _first(gaps, lambda gap: differs(gap, tolerance))

        debug.mistake(name)(outside)


_outside()


@debug.mistake("by_name")
def debug_by_name(right, wrong, tolerance=1e-4):
    return first_difference({path: right[path] for path in sorted(right)}, wrong, tolerance)


@debug.mistake("relative")
def debug_relative(right, wrong, tolerance=1e-4):
    return _not_close(right, wrong, rtol=1e-5, atol=tolerance)


@debug.mistake("relative_alone")
def debug_relative_alone(right, wrong, tolerance=1e-4):
    return _not_close(right, wrong, rtol=1e-5, atol=1e-8)


def _not_close(right, wrong, **tolerances):
    close = {p: torch.allclose(right[p], wrong[p], **tolerances) for p in right}
    return _first(close, lambda same: not same)


@debug.mistake("exact")
def debug_exact(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, _largest), lambda gap: gap != 0)


@debug.mistake("mean")
def debug_mean(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, lambda x: x.abs().mean()), lambda gap: not gap <= tolerance)


@debug.mistake("signed_mean")
def debug_signed_mean(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, lambda x: x.mean().abs()), lambda gap: not gap <= tolerance)


@debug.mistake("sum")
def debug_sum(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, lambda x: x.abs().sum()), lambda gap: not gap <= tolerance)


@debug.mistake("norm")
def debug_norm(right, wrong, tolerance=1e-4):
    return _first(_gaps(right, wrong, torch.norm), lambda gap: not gap <= tolerance)


@debug.mistake("largest")
def debug_largest(right, wrong, tolerance=1e-4):
    gaps = _gaps(right, wrong, _largest)
    path = max(gaps, key=lambda p: math.inf if math.isnan(gaps[p]) else gaps[p])
    return None if gaps[path] <= tolerance else path


@debug.mistake("last")
def debug_last(right, wrong, tolerance=1e-4):
    gaps = _gaps(right, wrong, _largest)
    return _first(dict(reversed(gaps.items())), lambda gap: not gap <= tolerance)


@debug.mistake("last_same")
def debug_last_same(right, wrong, tolerance=1e-4):
    before = None
    for path, gap in _gaps(right, wrong, _largest).items():
        if not gap <= tolerance:
            return before
        before = path
    return None


@debug.mistake("fixed_tolerance")
def debug_fixed_tolerance(right, wrong, tolerance=1e-4):
    return first_difference(right, wrong)


@debug.variant("allclose")
def debug_allclose(right, wrong, tolerance=1e-4):
    for path, value in right.items():
        if not torch.allclose(value, wrong[path], rtol=0, atol=tolerance):
            return path


debug.equivalent("gap <= tolerance -> gap < tolerance", "no difference is exactly the tolerance")
