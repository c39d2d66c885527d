"""`flax_models` is kept as a mirror of `torch_models`: the same public names in the same order, so
that a diff between two files shows what a framework decides and nothing else. Needs no jax."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "speechlib"
FILES = sorted(f.name for f in (PACKAGE / "flax_models").glob("*.py") if f.name != "__init__.py")
# what only one side has, and why
ONLY_TORCH = {
    "attention.py": dict.fromkeys(["fold_beams", "unfold_beams"], "beams share a memory"),
    "transformer.py": {"run_block": "checkpointing"},
    "inputs.py": {"memory_rows": "beams", "classes": "heads"},
    "loading.py": {"write_folder": "float16 for bundled checkpoints"},
    "losses.py": {
        "NEVER": "CTC",
        **dict.fromkeys(["ctc_loss", "am_softmax_loss"], "heads"),
        **dict.fromkeys(["sample_negatives", "contrastive_loss", "diversity_loss"], "pre-training"),
    },
    "generation.py": {
        **dict.fromkeys(["generate_from", "step_by_step"], "one function is compiled whole"),
        **dict.fromkeys(["search_named", "SEARCHES"], "other searches"),
    },
}
ONLY_FLAX = {
    "transformer.py": {"Fixed": "no requires_grad", "layer_norm": "other defaults",
                       "chosen": "a compiled program has no `continue`"},
    "inputs.py": {"known": "no values under jit"},
    "generation.py": dict.fromkeys(
        ["Generation", "settings_of", "end_and_pad", "prompt_tokens"],
        "in next_logits.py and prompting.py there",
    ),
    "loading.py": {
        **dict.fromkeys(["refuse_pickle"], "only PyTorch opens pickles"),
        **dict.fromkeys(["Stream", "streams", "initialise"], "explicit keys, partial trees"),
        **dict.fromkeys(["named_parameters", "torch_name", "turned", "LEAVES"], "other layouts"),
    },
}  # fmt: skip
SAME = {"as_array": "as_tensor", "__call__": "forward"}  # Flax's word -> PyTorch's


def names(framework, file):
    """Public functions, classes and constants in order, and the public methods of each class."""
    tree = ast.parse((PACKAGE / f"{framework}_models" / file).read_text(encoding="utf-8"))
    found, methods = [], {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.append(SAME.get(node.name, node.name))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append(node.targets[0].id)
        if isinstance(node, ast.ClassDef):
            inner = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
            methods[node.name] = [
                SAME.get(n, n) for n in inner if not n.startswith("_") or n in SAME
            ]
    return [name for name in found if not name.startswith("_")], methods


@pytest.mark.parametrize("file", FILES)
def test_same_names_in_the_same_order(file):
    (theirs, their_methods), (ours, our_methods) = names("torch", file), names("flax", file)
    only_torch, only_flax = ONLY_TORCH.get(file, {}), ONLY_FLAX.get(file, {})
    assert set(theirs) - set(ours) == set(only_torch), "new in PyTorch: mirror it, or say why not"
    assert set(ours) - set(theirs) == set(only_flax), "new in Flax: mirror it, or say why not"
    assert [n for n in ours if n in theirs] == [n for n in theirs if n in ours]
    for name in set(ours) & set(their_methods):
        both = set(our_methods[name]) & set(their_methods[name])
        order = [[n for n in m[name] if n in both] for m in (our_methods, their_methods)]
        assert order[0] == order[1], name


def test_a_mirrored_file_has_an_original():
    assert {f.name for f in (PACKAGE / "torch_models").glob("*.py")} >= set(FILES)


def test_pytorch_users_never_import_jax():
    code = (
        "import sys, speechlib as sl, speechlib.torch_models.speech_encoder_decoder\n"
        "sl.load, sl.save, sl.generate, sl.trace\n"
        "assert not {m.partition('.')[0] for m in sys.modules} & {'jax', 'flax', 'optax'}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_flax_users_need_no_pytorch():
    pytest.importorskip("jax", reason="the Flax models need jax: make test installs it")
    code = (
        "import sys, speechlib as sl\n"
        "sl.load('tests/golden/speech-to-text-2-a', framework='flax')\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
