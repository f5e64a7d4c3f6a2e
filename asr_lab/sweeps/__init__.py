"""Searching an experiment's keys: Optuna's studies, whose trials are runs."""

import logging
import warnings

import optuna

optuna.logging.set_verbosity(logging.ERROR)  # trials are told by our own progress
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
