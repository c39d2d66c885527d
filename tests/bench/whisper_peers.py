"""One random Whisper-tiny in four implementations: ours, transformers, openai-whisper, CTranslate2.

All from one folder, made by `make_folder`; each offers `encode(mel)` and `write(heard, beams)`, 100
tokens with the end token suppressed and no other rule.
"""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import torch

END, PROMPT, TOKENS = 50257, [50258, 50259, 50359, 50363], 100
SPECIAL = {END: "<|endoftext|>", 50258: "<|startoftranscript|>", 50361: "<|startofprev|>",
           50362: "<|nospeech|>", 50363: "<|notimestamps|>", 50259: "<|en|>"}  # fmt: skip


def make_folder(folder):
    """Whisper-tiny as published, random weights; a tokenizer, which CTranslate2's converter asks
    for; the converted model beside it."""
    from tokenizers import Tokenizer, models
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperForConditionalGeneration,
    )

    torch.manual_seed(0)
    ids = dict(pad_token_id=END, bos_token_id=END, eos_token_id=END, decoder_start_token_id=50258)
    model = WhisperForConditionalGeneration(WhisperConfig(**ids)).eval()
    model.model.decoder.embed_tokens.weight.data *= 3  # logits that differ
    model.generation_config = GenerationConfig(**ids, suppress_tokens=[END])
    model.save_pretrained(folder)
    words = {SPECIAL.get(number, f"t{number}"): number for number in range(51865)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="t0")),
        unk_token="t0", bos_token=SPECIAL[END], eos_token=SPECIAL[END],
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    from ctranslate2.converters import TransformersConverter

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        TransformersConverter(str(folder)).convert(str(Path(folder) / "ctranslate2"))


class Ours:
    def __init__(self, folder, dtype):
        import speechlib as sl
        from speechlib.torch_models import generation

        self.model, self.generation = sl.load(folder, dtype=dtype), generation

    def encode(self, mel):
        with torch.inference_mode():
            return self.model.encode(torch.from_numpy(mel))

    def write(self, heard, beams=1):
        search = self.generation.search_named(beams=beams)
        found = self.generation.generate_from(
            self.model, heard, max_tokens=TOKENS, prompt=torch.tensor([PROMPT]), search=search
        )
        return found.tokens[0, len(PROMPT) :].tolist()


class Transformers:
    def __init__(self, folder, dtype):
        from transformers import WhisperForConditionalGeneration

        self.model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
        self.model = self.model.to(getattr(torch, dtype))

    @torch.inference_mode()
    def encode(self, mel):
        mel = torch.from_numpy(mel).to(self.model.dtype)
        return self.model.model.encoder(mel).last_hidden_state

    def write(self, heard, beams=1):
        from transformers.modeling_outputs import BaseModelOutput

        found = self.model.generate(
            encoder_outputs=BaseModelOutput(heard), decoder_input_ids=torch.tensor([PROMPT]),
            max_new_tokens=TOKENS, num_beams=beams, do_sample=False,
        )  # fmt: skip
        return found[0].tolist()[-TOKENS:]


class OpenAI:
    """openai-whisper, its parameters filled from the same folder."""

    NAMES = (
        ("model.", ""), ("layers", "blocks"), ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"), ("encoder_attn", "cross_attn"),
        ("self_attn", "attn"), ("final_layer_norm", "mlp_ln"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
        ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"),
        ("embed_tokens", "token_embedding"), ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"), ("encoder.embed_positions.weight",
        "encoder.positional_embedding"), ("decoder.embed_positions.weight",
        "decoder.positional_embedding"),
    )  # fmt: skip

    def __init__(self, folder, _):
        from safetensors.torch import load_file
        from whisper.model import ModelDimensions, Whisper

        c = json.loads((Path(folder) / "config.json").read_text())
        sizes = (c["num_mel_bins"], 1500, 384, 6, 4, c["vocab_size"], 448, 384, 6, 4)
        self.model = Whisper(ModelDimensions(*sizes)).eval()
        found = {}
        for name, tensor in load_file(Path(folder) / "model.safetensors").items():
            for theirs, openais in self.NAMES:
                name = name.replace(theirs, openais)
            found[name] = tensor
        found.pop("proj_out.weight", None)
        missing, unexpected = self.model.load_state_dict(found, strict=False)
        assert not unexpected and not missing, (missing, unexpected)

    @torch.inference_mode()
    def encode(self, mel):
        return self.model.embed_audio(torch.from_numpy(mel))

    def write(self, heard, beams=1):
        from whisper.decoding import DecodingOptions, decode

        options = DecodingOptions(
            language="en", without_timestamps=True, sample_len=TOKENS, suppress_blank=False,
            suppress_tokens=[END], fp16=False, beam_size=beams if beams > 1 else None,
        )  # fmt: skip
        return decode(self.model, heard, options)[0].tokens


class CTranslate2:
    def __init__(self, folder, kind):
        import ctranslate2

        self.library = ctranslate2
        self.model = ctranslate2.models.Whisper(
            str(Path(folder) / "ctranslate2"), device="cpu", compute_type=kind,
            intra_threads=torch.get_num_threads(), inter_threads=1,
        )  # fmt: skip

    def encode(self, mel):
        return self.model.encode(self.library.StorageView.from_array(np.ascontiguousarray(mel)))

    def write(self, heard, beams=1):
        found = self.model.generate(
            heard, [PROMPT], beam_size=beams, max_length=2 * TOKENS, suppress_tokens=[END],
            suppress_blank=False,
        )  # fmt: skip
        return found[0].sequences_ids[0]


PEERS = {
    "ours float32": (Ours, "float32"),
    "ours bfloat16": (Ours, "bfloat16"),
    "transformers float32": (Transformers, "float32"),
    "transformers bfloat16": (Transformers, "bfloat16"),
    "openai-whisper float32": (OpenAI, "float32"),
    "CTranslate2 float32": (CTranslate2, "float32"),
    "CTranslate2 int8": (CTranslate2, "int8"),
}


def made(name, folder):
    """The implementation called so, with the weights in `folder`."""
    kind, how = PEERS[name]
    return kind(folder, how)
