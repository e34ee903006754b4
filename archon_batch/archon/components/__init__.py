"""The components of the paper, one file each: what it asks, and how it reads the reply."""

from collections.abc import Mapping
from types import MappingProxyType

from archon_batch.archon.component import Component
from archon_batch.archon.components.critic import Critic
from archon_batch.archon.components.fuser import Fuser
from archon_batch.archon.components.generator import Generator
from archon_batch.archon.components.ranker import Ranker

#: Each component by its ``type``.
KINDS: Mapping[str, type[Component]] = MappingProxyType(
    {"generator": Generator, "fuser": Fuser, "critic": Critic, "ranker": Ranker}
)
