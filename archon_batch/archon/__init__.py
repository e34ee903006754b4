"""The Archon paper (arXiv 2409.15254) as values and pure functions: no I/O, no clock, no dice."""

from archon_batch.archon.answer_extraction import (
    EXTRACTORS,
    extract_boxed,
    extract_expression,
    extract_letter,
    extract_match,
    extract_number,
    extract_stated,
    normalize_text,
)
from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Message, Reply, ReplyFormat, Usage
from archon_batch.archon.component import (
    Component,
    ComponentRequests,
    Context,
    CountRange,
    ModelComponent,
)
from archon_batch.archon.components import COMPONENT_TYPES
from archon_batch.archon.components.judge import Judge
from archon_batch.archon.context_window import check_length, estimate_tokens, fit_candidates
from archon_batch.archon.course import (
    Answer,
    CallsNeeded,
    CompletedLayer,
    ComponentResult,
    Failed,
    ItemPlanner,
)
from archon_batch.archon.critiques import UsesCritiques
from archon_batch.archon.delimiters import delimit_candidates, shuffle_candidates
from archon_batch.archon.flow import LayerFlow, count_calls, layer_flow, layer_flows
from archon_batch.archon.guard import run_component
from archon_batch.archon.interpreter import run_item
from archon_batch.archon.json_replies import (
    JsonReply,
    find_json_values,
    json_reply_format,
    parse_json_reply,
)
from archon_batch.archon.marks import delimit_text, delimit_texts
from archon_batch.archon.model import ListPrice, Model
from archon_batch.archon.planner import plan_item, replay_item
from archon_batch.archon.program_extraction import called_names, extract_program
from archon_batch.archon.reasoning_text import strip_reasoning
from archon_batch.archon.reference_config import (
    ConversionNote,
    is_reference_config,
    read_reference_config,
)
from archon_batch.archon.requests import (
    ParsedReply,
    ReplyParseError,
    Request,
    Requests,
    ask_parsed,
    ask_text,
    gather,
)
from archon_batch.archon.rules import rule_warnings, validate_architecture
from archon_batch.archon.sandbox_calls import (
    DEFAULT_TEST_SECONDS,
    MAX_TEST_SECONDS,
    MIN_TEST_SECONDS,
    SANDBOX_MODEL,
    SandboxRequest,
    SandboxResult,
    SandboxResults,
)
from archon_batch.archon.schema import (
    read_architecture,
    suggestion,
    validate_data,
    validate_no_secrets,
)
from archon_batch.archon.state import (
    Candidate,
    ComponentWarning,
    Contribution,
    ItemWarning,
    Question,
    State,
    UnitTestResult,
    WarningKind,
)
from archon_batch.archon.texts import generate_candidates
from archon_batch.archon.timed_regex import PatternError, TimedPattern, compile_pattern
from archon_batch.archon.trace import ComponentTrace, ItemTrace, LayerTrace, trace_item
from archon_batch.archon.verdict_scale import SCALES, ScaleName, contains_tag, parse_tag

__all__ = [
    "COMPONENT_TYPES",
    "DEFAULT_TEST_SECONDS",
    "EXTRACTORS",
    "MAX_TEST_SECONDS",
    "MIN_TEST_SECONDS",
    "SANDBOX_MODEL",
    "SCALES",
    "Answer",
    "Architecture",
    "Call",
    "CallKey",
    "CallsNeeded",
    "Candidate",
    "CompletedLayer",
    "Component",
    "ComponentRequests",
    "ComponentResult",
    "ComponentTrace",
    "ComponentWarning",
    "Context",
    "Contribution",
    "ConversionNote",
    "CountRange",
    "Failed",
    "ItemPlanner",
    "ItemTrace",
    "ItemWarning",
    "JsonReply",
    "Judge",
    "LayerFlow",
    "LayerTrace",
    "ListPrice",
    "Message",
    "Model",
    "ModelComponent",
    "ParsedReply",
    "PatternError",
    "Question",
    "Reply",
    "ReplyFormat",
    "ReplyParseError",
    "Request",
    "Requests",
    "SandboxRequest",
    "SandboxResult",
    "SandboxResults",
    "ScaleName",
    "State",
    "TimedPattern",
    "UnitTestResult",
    "Usage",
    "UsesCritiques",
    "WarningKind",
    "ask_parsed",
    "ask_text",
    "called_names",
    "check_length",
    "compile_pattern",
    "contains_tag",
    "count_calls",
    "delimit_candidates",
    "delimit_text",
    "delimit_texts",
    "estimate_tokens",
    "extract_boxed",
    "extract_expression",
    "extract_letter",
    "extract_match",
    "extract_number",
    "extract_program",
    "extract_stated",
    "find_json_values",
    "fit_candidates",
    "gather",
    "generate_candidates",
    "is_reference_config",
    "json_reply_format",
    "layer_flow",
    "layer_flows",
    "normalize_text",
    "parse_json_reply",
    "parse_tag",
    "plan_item",
    "read_architecture",
    "read_reference_config",
    "replay_item",
    "rule_warnings",
    "run_component",
    "run_item",
    "shuffle_candidates",
    "strip_reasoning",
    "suggestion",
    "trace_item",
    "validate_architecture",
    "validate_data",
    "validate_no_secrets",
]
