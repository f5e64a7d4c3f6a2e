"""One person's small MLP beside the frozen base's output layer (`network`), and the file it travels in (`file`)."""

from asr_lab.models.adapter.file import AdapterInfo, AdapterManager, Base, check_name
from asr_lab.models.adapter.network import AdapterOutput, MLPAdapter, vocabulary_digest, weights_digest

__all__ = [
    "AdapterInfo",
    "AdapterManager",
    "AdapterOutput",
    "Base",
    "MLPAdapter",
    "check_name",
    "vocabulary_digest",
    "weights_digest",
]
