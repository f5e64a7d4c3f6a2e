"""Speaker adapters: a small MLP on a frozen base model (`network`) and its file format (`file`)."""

from asr_lab.models.adapter.file import REGISTERED, AdapterInfo, AdapterManager, Base, check_name
from asr_lab.models.adapter.network import AdapterOutput, MLPAdapter, vocabulary_digest, weights_digest

__all__ = [
    "REGISTERED",
    "AdapterInfo",
    "AdapterManager",
    "AdapterOutput",
    "Base",
    "MLPAdapter",
    "check_name",
    "vocabulary_digest",
    "weights_digest",
]
