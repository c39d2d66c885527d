"""Shapes of the models: one frozen dataclass for a block, one per system.

input -> output: a checkpoint's `config.json` as a dict -> a checked, typed, unchangeable config.
Only what changes a computation is here; everything else in a `config.json` is carried along
unread (`checkpoints.py`), so that saving gives it back.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """One Transformer block. Two switches, `norm_first` and `cross_attention`, and no third."""

    width: int  # features of a frame or token
    heads: int
    feed_forward: int  # features between the two layers of the feed-forward part
    activation: str = "gelu"
    dropout: float = 0.0  # after each part, before it is added back
    attention_dropout: float = 0.0  # on the attention weights
    activation_dropout: float = 0.0  # between the two feed-forward layers
    norm_first: bool = True  # pre-norm (Whisper) or post-norm (the 2017 paper)
    cross_attention: bool = False
    key_bias: bool = True  # Whisper's keys have none
    attention: str = "sdpa"  # backend: a name in torch_models.attention.BACKENDS

    def __post_init__(self):
        _at_least_one(self, "width", "heads", "feed_forward")
        _probabilities(self, "dropout", "attention_dropout", "activation_dropout")
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is not a multiple of heads {self.heads}: every head gets "
                "width / heads features"
            )


@dataclass(frozen=True, kw_only=True)
class SpecAugmentConfig:
    """How much of the input is hidden while training (Park et al. 2019)."""

    time_probability: float = 0.05  # share of frames that start a hidden span, times its length
    time_length: int = 10  # frames
    time_min_spans: int = 2
    feature_probability: float = 0.0
    feature_length: int = 10  # mel bins or features
    feature_min_spans: int = 0

    def __post_init__(self):
        _probabilities(self, "time_probability", "feature_probability")
        _at_least_one(self, "time_length", "feature_length")

    @classmethod
    def from_hugging_face(cls, c: dict) -> "SpecAugmentConfig":
        """The `mask_…` keys of a `config.json`; missing ones take the defaults above."""
        values = {ours: _setting(c, theirs, getattr(cls, ours)) for ours, theirs in _MASK.items()}
        return cls(**values)

    def to_hugging_face(self) -> dict:
        """The inverse of `from_hugging_face`."""
        return {theirs: getattr(self, ours) for ours, theirs in _MASK.items()}


_MASK = {  # our name -> the key in config.json
    "time_probability": "mask_time_prob",
    "time_length": "mask_time_length",
    "time_min_spans": "mask_time_min_masks",
    "feature_probability": "mask_feature_prob",
    "feature_length": "mask_feature_length",
    "feature_min_spans": "mask_feature_min_masks",
}


@dataclass(frozen=True, kw_only=True)
class WhisperConfig:
    """Whisper (Radford et al. 2022): mel -> audio encoder -> text decoder."""

    encoder: BlockConfig
    decoder: BlockConfig
    encoder_layers: int
    decoder_layers: int
    vocabulary: int
    mel_bins: int = 80
    frames: int = 1500  # encoder frames: half of the mel frames, 20 ms each
    slots: int = 448  # longest text, in tokens
    encoder_layer_drop: float = 0.0
    decoder_layer_drop: float = 0.0
    init_std: float = 0.02
    pad: int | None = 50256
    start: int = 50257
    end: int | list[int] = 50256  # some checkpoints have several
    spec_augment: SpecAugmentConfig | None = None

    def __post_init__(self):
        _at_least_one(self, "encoder_layers", "decoder_layers", "vocabulary", "mel_bins")
        _at_least_one(self, "frames", "slots")
        _probabilities(self, "encoder_layer_drop", "decoder_layer_drop")
        if self.encoder.width != self.decoder.width:
            raise ValueError(
                f"Whisper's encoder and decoder share one width; got {self.encoder.width} and "
                f"{self.decoder.width}"
            )
        if self.width % 2:
            raise ValueError(f"a sinusoid table needs an even width, got {self.width}")
        if self.pad is not None and not 0 <= self.pad < self.vocabulary:
            raise ValueError(
                f"the pad token {self.pad} is outside the vocabulary of {self.vocabulary} tokens "
                f"(0 to {self.vocabulary - 1})"
            )

    @property
    def width(self) -> int:
        """Features of a frame or token, the same on both sides."""
        return self.encoder.width

    @property
    def mel_frames(self) -> int:
        """Mel frames of one window: the second convolution halves them."""
        return 2 * self.frames

    def with_attention(self, backend: str) -> "WhisperConfig":
        """The same config with another attention backend."""
        return replace(
            self,
            encoder=replace(self.encoder, attention=backend),
            decoder=replace(self.decoder, attention=backend),
        )

    @classmethod
    def from_hugging_face(cls, c: dict) -> "WhisperConfig":
        """`config.json` of a Whisper checkpoint, as a dict. Missing keys take the published
        defaults of transformers' `WhisperConfig`. Raises ValueError for a value of another kind."""

        def get(name, default):
            return _setting(c, name, default)

        shared = {
            "width": get("d_model", 384),
            "activation": get("activation_function", "gelu"),
            "dropout": get("dropout", 0.0),
            "attention_dropout": get("attention_dropout", 0.0),
            "activation_dropout": get("activation_dropout", 0.0),
            "key_bias": False,
        }
        return cls(
            encoder=BlockConfig(
                heads=get("encoder_attention_heads", 6),
                feed_forward=get("encoder_ffn_dim", 1536),
                **shared,
            ),
            decoder=BlockConfig(
                heads=get("decoder_attention_heads", 6),
                feed_forward=get("decoder_ffn_dim", 1536),
                cross_attention=True,
                **shared,
            ),
            encoder_layers=get("encoder_layers", 4),
            decoder_layers=get("decoder_layers", 4),
            vocabulary=get("vocab_size", 51865),
            mel_bins=get("num_mel_bins", 80),
            frames=get("max_source_positions", 1500),
            slots=get("max_target_positions", 448),
            encoder_layer_drop=get("encoder_layerdrop", 0.0),
            decoder_layer_drop=get("decoder_layerdrop", 0.0),
            init_std=get("init_std", 0.02),
            pad=c.get("pad_token_id", 50256),
            start=c.get("decoder_start_token_id", 50257),
            end=c.get("eos_token_id", 50256),
            spec_augment=(
                SpecAugmentConfig.from_hugging_face(c) if get("apply_spec_augment", False) else None
            ),
        )

    def to_hugging_face(self) -> dict:
        """The keys of `config.json` that this config decides; the inverse of
        `from_hugging_face`."""
        e, d = self.encoder, self.decoder
        return {
            "model_type": "whisper",
            "vocab_size": self.vocabulary,
            "num_mel_bins": self.mel_bins,
            "d_model": self.width,
            "encoder_layers": self.encoder_layers,
            "encoder_attention_heads": e.heads,
            "encoder_ffn_dim": e.feed_forward,
            "encoder_layerdrop": self.encoder_layer_drop,
            "decoder_layers": self.decoder_layers,
            "decoder_attention_heads": d.heads,
            "decoder_ffn_dim": d.feed_forward,
            "decoder_layerdrop": self.decoder_layer_drop,
            "activation_function": e.activation,
            "dropout": e.dropout,
            "attention_dropout": e.attention_dropout,
            "activation_dropout": e.activation_dropout,
            "init_std": self.init_std,
            "max_source_positions": self.frames,
            "max_target_positions": self.slots,
            "pad_token_id": self.pad,
            "eos_token_id": self.end,
            "decoder_start_token_id": self.start,
            "apply_spec_augment": self.spec_augment is not None,
            **(self.spec_augment.to_hugging_face() if self.spec_augment else {}),
        }


def _setting(config: dict, name: str, default):
    """config[name], of the kind that the default is; a whole number may stand for a float."""
    value = config.get(name)
    if value is None:
        return default
    kinds = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool):
        raise ValueError(
            f"expected {name} in config.json to be of type {type(default).__name__}, as in "
            f"{default!r}, came {value!r}"
        )
    return value


def _at_least_one(config, *names):
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")


def _probabilities(config, *names):
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must lie in 0 to 1, got {getattr(config, name)}")
