"""Names of the tags of runs, logged models and registered versions."""

from __future__ import annotations

from asr_lab.interfaces.tags import BASE as BASE
from asr_lab.interfaces.tags import BASE_DIGEST as BASE_DIGEST
from asr_lab.interfaces.tags import ERROR as ERROR
from asr_lab.interfaces.tags import FAMILY as FAMILY
from asr_lab.interfaces.tags import GATE as GATE
from asr_lab.interfaces.tags import SPEAKER as SPEAKER
from asr_lab.interfaces.tags import SWEEP as SWEEP
from asr_lab.interfaces.tags import TEXT as TEXT

KIND, MODEL_TYPE, SIGNATURE = "asr_lab.kind", "asr_lab.model_type", "asr_lab.signature"
DATA = "asr_lab.data."
"""Prefix; followed by the name of a split: the digest of its manifest."""
ADAPTER, ADAPTER_URI = "asr_lab.adapter", "asr_lab.adapter_uri"
"""The digest of the adapter that a run evaluated, and its URI."""
PROCESS, SPOOL = "asr_lab.process", "asr_lab.spool"
RESUMED_FROM, CONTINUED_BY = "asr_lab.resumed_from", "asr_lab.continued_by"
COMMAND, GIT_SHA, DIRTY = "asr_lab.command", "asr_lab.git_sha", "asr_lab.dirty"
CHANGES = "asr_lab.changes"
"""The digest of the patch of what was not committed."""
VERSIONS, HARDWARE, WORLD_SIZE = "asr_lab.versions", "asr_lab.hardware", "asr_lab.world_size"
THREADS, REPRODUCED = "asr_lab.threads", "asr_lab.reproduced"
KEEP, ARCHIVED, CLEANUP = "asr_lab.keep", "asr_lab.archived", "asr_lab.cleanup"
BUNDLES = "asr_lab.bundles"
"""Every location that a run was archived to, one per line, newest first; stays after a restore."""
RESTORED_FROM, RESTORING = "asr_lab.restored_from", "asr_lab.restoring"
FORGOTTEN, FORGOTTEN_NAMES = "asr_lab.forgotten", "asr_lab.forgotten_also"
"""Of an erasure record: the hashed name of the speaker, and, until all is erased, other names in tables."""
GATE_FORCED, REPLACED_BY = "asr_lab.gate_forced", "asr_lab.replaced_by"
VERDICT = "asr_lab.verdict"
"""What `GATE` holds as JSON, in words."""
LICENSE = "asr_lab.license"
"""Of registered versions, as the three above."""
LM_WEIGHTS = "asr_lab.lm_weights"
"""Of a registered language model: JSON, the weights of decoding for each recogniser, by its registered name."""
EXPORTED, EXPORTED_FROM = "asr_lab.exported", "asr_lab.exported_from"
"""Of registered versions: the form of an exported model, and the pinned URI of its origin."""
CONTENT = "asr_lab.content"
"""Of a logged model: the digest of its files."""
STORE = "asr_lab.store"
"""Of an experiment: the SQLite file that it was last written in; in a copy that is the original's."""
MOVED = "asr_lab.moved"
"""Of an experiment: the former folders of the store that a server found copied or moved at its start, as JSON."""
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"
PURGE_BEGUN = "purge"
"""Prefix of the value of `CLEANUP` while the files of a run are being erased."""
