"""Words that people use for names of this project, for the suggestions in messages."""

import difflib
import re
from collections.abc import Iterable

_WORDS = {
    # tables of a study file
    "data": "dataset data_set download fetch",
    "space": "search_space architecture arch cells",
    "network": "model neurons",
    "quantization": "bits weight_bits precision",
    "hardware": "chip hw device profile",
    "search": "sampler optimizer algorithm trainings",
    "objectives": "goals metrics targets",
    "constraints": "budget budgets limit limits",
    "seed": "random_seed",
    # keys of a study file
    "trainings": "trials n_trials max_trials budget evaluations max_evals iterations generations",
    "at_most": "max maximum upper upper_bound limit below less_than le",
    "at_least": "min minimum lower lower_bound above more_than ge",
    "learning_rate": "lr eta",
    "batch_size": "batch bs",
    "weight_decay": "wd l2",
    "cells": "layers depth blocks n_cells n_layers",
    "channels": "width widths filters",
    "time_steps": "t steps n_steps",
    "weight_bits": "bits bit_width precision",
    "operations": "ops primitives",
    "hidden": "neurons hidden_size units",
    "direction": "goal sense optimize optimise",
    "metric": "name objective",
    "reference": "worst ref nadir",
    "ideal": "best utopia",
    "sampler": "algorithm strategy method optimizer",
    "seconds": "timeout max_seconds time_limit wall_time",
    "early_stop": "patience",
    "max_attempts": "retries max_retries",
    "warm_start_from": "warm_start",
    "profile": "chip model device",
    "name": "dataset data_set",
    "train_samples": "train n_train",
    "validation_samples": "validation valid val n_validation",
    # samplers
    "nsga2": "nsga genetic evolution evolutionary",
    "gp": "bayesian bayes bo gaussian_process",
    "random": "uniform grid rs",
    # operations
    "zeroize": "none zero zeros",
    "skip": "identity skip_connect",
    # metrics
    "accuracy": "acc top1 error loss",
    "parameters": "params n_params weights",
    "memory_KiB": "size model_size",
    "latency_ms": "delay speed runtime",
    "energy_delay_nJs": "edp",
    "throughput_per_s": "fps",
    "spike_rate": "sparsity firing_rate activity",
    "processing_elements": "pes",
    # commands
    "run": "train search start optimize optimise",
    "studies": "list ls",
    "front": "results pareto best",
    "check": "validate lint",
    "resume": "continue restart",
    "dashboard": "ui web",
    "migrate": "upgrade",
    "cost": "estimate price",
    "launch": "slurm k8s kubernetes dask",
}


def plain_form(word: str) -> str:
    """A name without case, punctuation, the suffix `Sampler` and Roman numerals.

    >>> plain_form("NSGA-II"), plain_form("nsga2"), plain_form("avg_pool_3x3")
    ('nsga2', 'nsga2', 'avgpool3x3')
    """
    text = re.sub("[^a-z0-9]", "", word.lower())
    text = text.removesuffix("sampler") or text
    return re.sub("ii$", "2", re.sub("iii$", "3", text))


def _meanings() -> dict[str, list[str]]:
    meanings: dict[str, list[str]] = {}
    for name, words in _WORDS.items():
        for word in words.split():
            meanings.setdefault(plain_form(word), []).append(name)
    return meanings


SYNONYMS = _meanings()
"""What each word may mean, by its plain form."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that a word most probably means.

    Args:
        word: An unknown word.
        known: All known names.

    Returns:
        The name that is written alike, or that people also call so, or that is the most similar,
        or of which the word is the beginning; empty where there is none.
    """
    names, text = list(known), plain_form(word)
    alike = [name for name in names if plain_form(name) == text]
    meant = [name for name in SYNONYMS.get(text, ()) if name in names]
    similar = difflib.get_close_matches(word, names, n=1)
    begun = sorted((n for n in names if _begins(plain_form(n), text)), key=len)
    return next(iter((*alike, *meant, *similar, *begun)), "")


def _begins(name: str, text: str) -> bool:
    shorter, longer = sorted((name, text), key=len)
    return len(shorter) > 2 and longer.startswith(shorter)
