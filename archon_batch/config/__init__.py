"""The files that operators write: architectures, search spaces, jobs and pools."""

from archon_batch.config.architecture_file import (
    ArchitectureFile,
    component_kinds,
    find_architecture,
    load_architecture,
    read_architecture_file,
)
from archon_batch.config.job_file import JobFile, read_job_file
from archon_batch.config.pool_file import PoolFile, read_pool_file
from archon_batch.config.text_files import text_of
from archon_batch.config.yaml_document import Document, kind_of, load
from archon_batch.config.yaml_writer import yaml_text

__all__ = [
    "ArchitectureFile",
    "Document",
    "JobFile",
    "PoolFile",
    "component_kinds",
    "find_architecture",
    "kind_of",
    "load",
    "load_architecture",
    "read_architecture_file",
    "read_job_file",
    "read_pool_file",
    "text_of",
    "yaml_text",
]
