"""bfloat16 says what float32 says; where a processor has no instructions for it, load says so."""

import numpy as np
import pytest
import torch

import speechlib as sl

torch.set_num_threads(1)


def test_bfloat16_keeps_the_greedy_tokens():
    """At least 98 of 100 tokens of the bundled recordings, the end tokens among them."""
    spoken = sl.corpus.digits("test")[::3]
    models = [sl.load("whisper-digits", dtype=dtype) for dtype in ("float32", "bfloat16")]
    seconds = models[0].config.mel_frames / 100
    mels = torch.from_numpy(
        np.stack([sl.audio.log_mel(u.wave(), pad_to_seconds=seconds) for u in spoken])
    )
    exact, half = (sl.generate(model, mels, max_tokens=20) for model in models)
    longest = max(exact.tokens.shape[1], half.tokens.shape[1])
    pad = models[0].config.pad
    texts = [torch.nn.functional.pad(g.tokens, (0, longest - g.tokens.shape[1]), value=pad)
             for g in (exact, half)]  # fmt: skip
    said = (texts[0] != pad) | (texts[1] != pad)
    same = (texts[0] == texts[1])[said].float().mean()
    assert said.sum() > 200 and same >= 0.98, f"{same:.1%} of {said.sum()} tokens"


@pytest.fixture
def capabilities(monkeypatch):
    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this PyTorch does not say what the processor can do")
    return lambda **able: monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)


def test_without_instructions_it_is_float32_and_a_note(capabilities):
    capabilities(architecture="x86_64", avx512_bf16=False, avx2=True)
    with pytest.warns(UserWarning, match="no bfloat16 instructions"):
        model = sl.load("whisper-digits", dtype="bfloat16")
    assert next(model.parameters()).dtype == torch.float32


@pytest.mark.parametrize("able", [dict(avx512_bf16=True), dict(amx_bf16=True)])
def test_with_instructions_it_is_bfloat16(capabilities, able, recwarn):
    capabilities(architecture="x86_64", **able)
    model = sl.load("whisper-digits", dtype="bfloat16")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not any("bfloat16" in str(w.message) for w in recwarn)


def test_other_number_types_are_as_asked(capabilities):
    capabilities(architecture="x86_64", avx512_bf16=False)
    for dtype in ("float16", "float64"):
        model = sl.load("whisper-digits", dtype=dtype)
        assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
