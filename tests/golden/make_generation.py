"""Makes the generation goldens: what transformers 4.46.3 writes with the whisper-a and -b goldens.

    python tests/golden/make_generation.py     (in an environment with transformers==4.46.3)

Writes generation.npz: beam search over beams, length penalties, early stopping, end tokens,
prompts and lengths (sequences and sequences_scores); sampling with a seed; and Whisper's own
`generate` with beams and with times. The checkpoints of make_whisper.py must be there.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, WhisperForConditionalGeneration
from transformers.generation import GenerationMixin

HERE = Path(__file__).parent
VERSION = "4.46.3"
ENDS = {"whisper-a": [[40], [40, 9, 27]], "whisper-b": [[46], [46, 5, 30, 12]]}
PROMPTS = {"whisper-a": [[41, 43, 45, 49], [41]], "whisper-b": [[47, 50, 49], [47, 3, 9, 9, 20]]}
RULES = ("suppress_tokens", "begin_suppress_tokens")


def cases():
    """Every beam search to make, as keyword arguments."""
    penalties, stops = (0.0, 0.5, 1.0, 2.0, -1.0), (False, True, "never")
    for name in ENDS:
        grid = itertools.product((2, 3, 5), penalties, stops, ENDS[name])
        for number, (beams, penalty, stop, end) in enumerate(grid):
            yield {
                "model": name, "beams": beams, "length_penalty": penalty, "early_stopping": stop,
                "end": end, "prompt": PROMPTS[name][number // 2 % 2],
                "max_tokens": (10, 5, 14)[number // 3 % 3], "ruled": number % 4 != 3,
            }  # fmt: skip


def settings(model, case):
    """The generation config of a case; nothing else of the checkpoint's applies."""
    own = model.generation_config.to_dict()
    kept = {name: own.get(name) if case["ruled"] else None for name in RULES}
    return GenerationConfig(
        eos_token_id=case["end"], pad_token_id=own["pad_token_id"],
        decoder_start_token_id=own["decoder_start_token_id"], **kept,
    )  # fmt: skip


@torch.no_grad()
def searched(model, mel, case, **options):
    """The plain loop of transformers, without what Whisper's `generate` puts around it."""
    prompt = torch.tensor([case["prompt"]] * len(mel))
    found = GenerationMixin.generate(
        model, mel, generation_config=settings(model, case), decoder_input_ids=prompt,
        max_new_tokens=case["max_tokens"], return_dict_in_generate=True, output_scores=True,
        **options,
    )  # fmt: skip
    return found


def stacked(rows):
    """Arrays (batch, tokens) of unequal width -> one (number, batch, tokens), filled with -1."""
    width = max(row.shape[1] for row in rows)
    out = np.full((len(rows), rows[0].shape[0], width), -1, dtype=np.int16)
    for place, row in enumerate(rows):
        out[place, :, : row.shape[1]] = row
    return out


def beams(models, mels):
    listed, tokens, scores = list(cases()), [], []
    for case in listed:
        found = searched(
            models[case["model"]], mels[case["model"]], case, num_beams=case["beams"],
            length_penalty=case["length_penalty"], early_stopping=case["early_stopping"],
        )  # fmt: skip
        tokens.append(found.sequences.numpy())
        scores.append(found.sequences_scores.numpy())
    return {
        "beams.cases": np.array(json.dumps(listed)),
        "beams.tokens": stacked(tokens),
        "beams.scores": np.stack(scores),
    }


def sampling(models, mels):
    listed, tokens = [], []
    for name, temperature, seed in itertools.product(ENDS, (0.3, 1.0, 2.5), range(4)):
        case = {
            "model": name, "temperature": temperature, "seed": seed, "end": ENDS[name][seed % 2],
            "prompt": PROMPTS[name][seed // 2], "max_tokens": 12, "ruled": True,
        }  # fmt: skip
        torch.manual_seed(seed)
        found = searched(
            models[name], mels[name], case, do_sample=True, temperature=temperature, top_k=0
        )
        listed.append(case)
        tokens.append(found.sequences.numpy())
    return {"sampling.cases": np.array(json.dumps(listed)), "sampling.tokens": stacked(tokens)}


@torch.no_grad()
def padded(models, mels):
    """Prompts of unequal length, padded on the left (pad 48 is not the end token here)."""
    prompt = torch.tensor([[48, 48, 47, 50, 49], [48, 47, 3, 9, 20], [47, 3, 9, 9, 20]])
    model, out = models["whisper-b"], []
    for number in (1, 3):
        found = GenerationMixin.generate(
            model, mels["whisper-b"], decoder_input_ids=prompt, num_beams=number,
            decoder_attention_mask=(prompt != 48).long(), max_new_tokens=12,
            generation_config=settings(model, {"ruled": True, "end": [46, 5]}),
        )  # fmt: skip
        out.append(found.numpy())
    return {"padded.prompt": prompt.numpy(), "padded.tokens": stacked(out)}


@torch.no_grad()
def whisper_s_own(models, mels):
    """Whisper's own `generate`: forced prompts, language, times; beams 1 and 3."""
    ways = [
        ("whisper-a", {}),
        ("whisper-a", {"language": "de", "task": "translate"}),
        ("whisper-a", {"language": "en", "task": "transcribe", "return_timestamps": True}),
        ("whisper-b", {}),
    ]
    listed, tokens = [], []
    for (name, way), number in itertools.product(ways, (1, 3)):
        found = models[name].generate(
            mels[name], max_new_tokens=12, num_beams=number, return_dict_in_generate=True, **way
        )
        listed.append({"model": name, "beams": number, **way})
        tokens.append(found.sequences.numpy())
    return {"whisper.cases": np.array(json.dumps(listed)), "whisper.tokens": stacked(tokens)}


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    models = {n: WhisperForConditionalGeneration.from_pretrained(HERE / n).eval() for n in ENDS}
    mels = {n: torch.tensor(np.load(HERE / n / "outputs.npz")["mel"]) for n in ENDS}
    arrays = beams(models, mels) | sampling(models, mels)
    arrays |= padded(models, mels) | whisper_s_own(models, mels)
    np.savez_compressed(HERE / "generation.npz", **arrays)
    ends = {len(set(row.tolist())) for one in arrays["beams.tokens"] for row in one}
    print({name: array.shape for name, array in arrays.items()}, "different tokens a row:", ends)


if __name__ == "__main__":
    main()
