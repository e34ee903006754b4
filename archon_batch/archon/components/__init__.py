"""The components of the paper, a voter and a judge. Each file has the prompts and the parsers of one."""

from collections.abc import Mapping
from types import MappingProxyType

from archon_batch.archon.component import Component
from archon_batch.archon.components.critic import Critic
from archon_batch.archon.components.fuser import Fuser
from archon_batch.archon.components.generator import Generator
from archon_batch.archon.components.judge import Judge
from archon_batch.archon.components.ranker import Ranker
from archon_batch.archon.components.unit_test_evaluator import UnitTestEvaluator
from archon_batch.archon.components.unit_test_generator import UnitTestGenerator
from archon_batch.archon.components.verifier import Verifier
from archon_batch.archon.components.voter import Voter

#: By ``type``.
COMPONENT_TYPES: Mapping[str, type[Component]] = MappingProxyType({
    "generator": Generator,
    "fuser": Fuser,
    "critic": Critic,
    "ranker": Ranker,
    "verifier": Verifier,
    "unit_test_generator": UnitTestGenerator,
    "unit_test_evaluator": UnitTestEvaluator,
    "voter": Voter,
    "judge": Judge,
})  # fmt: skip
