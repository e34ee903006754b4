"""The files that operators write: architectures, jobs and pools."""

from archon_batch.files.architectures import (
    blaming,
    component_kinds,
    find_architecture,
    read_architecture_file,
)
from archon_batch.files.document import Document, kind_of, load
from archon_batch.files.jobs import JobFile, read_job_file
from archon_batch.files.pools import PoolFile, read_pool_file

__all__ = [
    "Document",
    "JobFile",
    "PoolFile",
    "blaming",
    "component_kinds",
    "find_architecture",
    "kind_of",
    "load",
    "read_architecture_file",
    "read_job_file",
    "read_pool_file",
]
