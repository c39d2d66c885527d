"""Who may import whom, read from the source: the layers that keep one change in one room."""

import ast
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "speechlib"
SHARED = {
    *("configs", "audio", "tokenizers", "position_embeddings", "attention_masks", "spec_augment"),
    *("generation_rules", "alignment", "ctc_decoding", "metrics", "checkpoints", "trace", "paths"),
    *("sound_files", "rename_rows", "checkpoint_files", "vocabularies", "limits"),
}
SYSTEMS = {"whisper", "wavlm", "speech_to_text_2", "speech_encoder_decoder"}
FRAMEWORKS = {"torch", "jax", "flax", "optax"}
INSIDE_FUNCTIONS = {"soundfile", "safetensors", "tokenizers", "huggingface_hub"}
BARE_PYTHON = ["__init__", "__main__", "cli", "doctor", "installing", "setup_environment"]


def room(module):
    """The layer of `speechlib.x.y`: "shared", "torch_models", "flax_models" or "upper"."""
    first = (module.split(".") + [""])[1]
    if first in SHARED:
        return "shared"
    return first if first in ("torch_models", "flax_models") else "upper"


def module_name(file):
    """speechlib/torch_models/whisper.py -> speechlib.torch_models.whisper"""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree, package):
    """(dotted name, at top level, as written) of every import; from-imports name what they take."""
    top = set(map(id, ast.walk(ast.Module([n for n in tree.body if not _is_def(n)], []))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: -node.level + 1 or None], base]).strip(".")
            for alias in node.names:
                yield f"{base}.{alias.name}", id(node) in top


def _is_def(node):
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))


def faults(module, source):
    """What in this source breaks the import rules, one line each."""
    package = module if (ROOT.joinpath(*module.split(".")) / "__init__.py").exists() else (
        module.rpartition(".")[0]
    )
    here, found = room(module), []
    for name, at_top in imports(ast.parse(source), package):
        parts = name.split(".")
        if parts[0] == "speechlib":
            found += _inner_faults(module, here, name)
        elif parts[0] in FRAMEWORKS and (here == "shared" or _other_framework(here, parts[0])):
            found.append(f"{module} imports {parts[0]}")
        elif parts[0] in INSIDE_FUNCTIONS and at_top and here != "torch_models":
            found.append(f"{module} imports {parts[0]} at the top, not inside a function")
        elif parts[0] in ("transformers", "tests", "whisper", "librosa"):
            found.append(f"{module} imports {parts[0]}, which only tests may")
    return found


def _other_framework(here, framework):
    others = {"torch_models": {"jax", "flax", "optax"}, "flax_models": {"torch"}}
    return framework in others.get(here, ())


def _inner_faults(module, here, name):
    there = room(name)
    allowed = {
        "shared": {"shared"},
        "torch_models": {"shared", "torch_models"},
        "flax_models": {"shared", "flax_models"},
        "upper": {"shared", "torch_models", "flax_models", "upper"},
    }[here]
    if name == "speechlib" and here != "upper" or there not in allowed:
        return [f"{module} ({here}) imports {name} ({there})"]
    if here != "upper" and room(name) == "shared" and _takes_a_function_out(name):
        return [f"{module} imports {name}: call it through its module, or `use` cannot replace it"]
    system, used = (dotted.split(".")[2:3] for dotted in (module, name))
    if here == there != "shared" and system != used and {*system, *used} <= SYSTEMS and used:
        return [f"{module} imports {name}: two systems know each other"]
    return []


def _takes_a_function_out(name):
    module, _, attribute = name.rpartition(".")
    own = ("speechlib.paths", "speechlib.trace")  # no learner writes these
    return module.count(".") == 1 and module not in own and attribute[0].islower()


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_keep_to_the_layers(file):
    assert faults(module_name(file), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "module, source",
    [
        ("speechlib.audio", "def f():\n    import torch"),
        ("speechlib.audio", "import soundfile"),
        ("speechlib.metrics", "from speechlib import lessons"),
        ("speechlib.metrics", "from speechlib.torch_models import attention"),
        ("speechlib.torch_models.whisper", "from speechlib.torch_models.wavlm import WavLM"),
        ("speechlib.torch_models.whisper", "from speechlib.torch_models import wavlm"),
        ("speechlib.torch_models.whisper", "import jax"),
        ("speechlib.torch_models.whisper", "from speechlib.flax_models import attention"),
        ("speechlib.torch_models.whisper", "import speechlib.viz.plots"),
        ("speechlib.flax_models.whisper", "import torch.nn as nn"),
        ("speechlib.viz.plots", "import transformers"),
        ("speechlib.torch_models.whisper", "from speechlib.attention_masks import causal_mask"),
    ],
)
def test_a_broken_rule_is_found(module, source):
    assert len(faults(module, source)) == 1


@pytest.mark.parametrize(
    "module, source",
    [
        ("speechlib.audio", "def f():\n    import soundfile"),
        ("speechlib.torch_models.whisper", "import torch\nfrom speechlib import attention_masks"),
        ("speechlib.torch_models.whisper", "from speechlib.torch_models import attention"),
        ("speechlib.viz.plots", "from speechlib.torch_models import whisper\nimport torch"),
    ],
)
def test_what_is_allowed_is_not_reported(module, source):
    assert faults(module, source) == []


@pytest.mark.parametrize("name", BARE_PYTHON)
def test_the_launcher_needs_nothing_but_an_old_python(name):
    """`python3 -m speechlib lessons start` must reach its one-line advice on any Python."""
    import sys

    source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
    if name != "doctor":  # runs only once the version is known to do
        ast.parse(source, feature_version=(3, 7))
    outside = {name.split(".")[0] for name, _ in imports(ast.parse(source), "speechlib")}
    assert outside - set(sys.stdlib_module_names) <= {"speechlib"}


def test_sizes_are_looked_at():
    """The budget is an alarm, not a law: what is over it is shown, and nothing fails."""
    for file in FILES:
        if "bank" in file.parts:  # lists of cases and wrong answers: read one at a time
            continue
        source = file.read_text(encoding="utf-8")
        lines = source.count("\n")
        long = [
            f"{node.name} {node.end_lineno - node.lineno + 1}"
            for node in ast.walk(ast.parse(source))
            if _is_def(node)
            and not isinstance(node, ast.ClassDef)
            and node.end_lineno - node.lineno + 1 > 40
        ]
        if lines > 250 or long:
            where = file.relative_to(ROOT)
            warnings.warn(f"{where}: {lines} lines; long: {', '.join(long) or '-'}", stacklevel=1)
