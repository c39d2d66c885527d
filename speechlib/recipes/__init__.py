"""How the bundled checkpoints are made: `python -m speechlib train NAME`. One file a checkpoint."""
