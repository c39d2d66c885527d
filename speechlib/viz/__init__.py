"""Seeing and hearing: static plots, players, and widgets for JupyterLab.

Names are resolved when first used: plots need Matplotlib, widgets ipywidgets and anywidget.
"""

import importlib

_PUBLIC = {
    "TimeAxis": "time_axis", "SAMPLES": "time_axis", "WHISPER_MEL": "time_axis",
    "WHISPER_ENCODER": "time_axis", "WAVLM_ENCODER": "time_axis",
    "plot_waveform": "plots", "plot_log_mel": "plots",
    "plot_attention": "attention_plots", "plot_head_grid": "attention_plots",
    "plot_cross_attention": "attention_plots",
    "plot_masks": "tables", "plot_sinusoids": "tables", "plot_matrix": "tables",
    "plot_clocks": "position_plots", "plot_tables": "position_plots",
    "plot_similarity": "position_plots", "pick_position": "position_picker",
    "PositionPicker": "position_picker",
    "pick_masks": "mask_picker", "MaskPicker": "mask_picker",
    "plot_stages": "whisper_plots", "plot_step": "whisper_plots", "plot_gaps": "whisper_plots",
    "pick_step": "whisper_plots", "StepPicker": "whisper_plots",
    "plot_confusion": "confusion_plots",
    "plot_curves": "curves", "LiveCurves": "curves",
    "plot_film": "training_view", "LiveTraining": "training_view",
    "show": "display",
    "play": "listening", "Player": "listening", "hear_row": "listening", "hear_span": "listening",
    "pick_head": "picker", "HeadPicker": "picker",
    "Recorder": "widgets.recorder", "ListenMap": "widgets.listen_map",
    "listen": "widgets.listen", "Listening": "widgets.listen",
    "computer_voices": "widgets.listen",
    "view": "widgets.corpus_view", "CorpusViewer": "widgets.corpus_view",
    "plot_utterance": "utterance_plots",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"speechlib.viz has no {name!r}; it has {', '.join(_PUBLIC)}")
    value = getattr(importlib.import_module(f"speechlib.viz.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
