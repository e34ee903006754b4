"""Configuration files: architectures, jobs and pools."""

from archon_batch.config.architecture_file import (
    ArchitectureFile,
    component_types,
    find_architecture,
    load_architecture,
    read_architecture_file,
)
from archon_batch.config.job_file import JobFile, read_job_file
from archon_batch.config.pool_file import PoolFile, read_pool_file
from archon_batch.config.text_files import text_or_file
from archon_batch.config.yaml_document import YamlDocument, file_kind, load_document
from archon_batch.config.yaml_writer import architecture_yaml

__all__ = [
    "ArchitectureFile",
    "JobFile",
    "PoolFile",
    "YamlDocument",
    "architecture_yaml",
    "component_types",
    "file_kind",
    "find_architecture",
    "load_architecture",
    "load_document",
    "read_architecture_file",
    "read_job_file",
    "read_pool_file",
    "text_or_file",
]
