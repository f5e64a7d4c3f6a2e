"""Hyperparameter sweeps: Optuna studies whose trials are runs."""

import logging
import warnings

import optuna

optuna.logging.set_verbosity(logging.ERROR)  # trials are reported by our own progress display
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
