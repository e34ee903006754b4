"""The Archon paper (arXiv 2409.15254) as values and pure functions: no I/O, no clock, no dice."""

from archon_batch.archon.answer_extraction import (
    EXTRACTORS,
    boxed,
    expression,
    letter,
    matched,
    number,
    plain,
    stated,
)
from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Form, Message, Reply, Usage
from archon_batch.archon.component import Bounds, Component, ModelComponent, Scene, Work
from archon_batch.archon.components import KINDS
from archon_batch.archon.components.judge import Judge
from archon_batch.archon.context_window import estimated, fitted, refuse_long
from archon_batch.archon.course import Answer, Ask, Course, Done, GaveUp, Passed
from archon_batch.archon.critiques import UsesCritiques
from archon_batch.archon.delimiters import fenced, shuffled
from archon_batch.archon.flow import Flow, calls, flow_of, flows
from archon_batch.archon.guard import guarded
from archon_batch.archon.interpreter import run
from archon_batch.archon.json_replies import JsonReply, json_form, json_values, read_json
from archon_batch.archon.marks import enclosed, marked
from archon_batch.archon.model import ListPrice, Model
from archon_batch.archon.planner import plan, trace
from archon_batch.archon.program_extraction import called_in, code_of
from archon_batch.archon.reasoning_text import without_thoughts
from archon_batch.archon.reference_config import Told, is_reference, read_reference
from archon_batch.archon.requests import (
    Reading,
    Request,
    Steps,
    UnreadableError,
    ask,
    tell,
    together,
)
from archon_batch.archon.rules import refuse_broken, warnings
from archon_batch.archon.sandbox_calls import (
    LEAST_SECONDS,
    MOST_SECONDS,
    SANDBOX,
    SECONDS,
    Execution,
    Result,
    Results,
)
from archon_batch.archon.schema import checked, nearest, read_architecture, refuse_secrets
from archon_batch.archon.state import (
    Candidate,
    Contribution,
    Note,
    NoteKind,
    Question,
    Remark,
    State,
    Verdict,
)
from archon_batch.archon.texts import texts
from archon_batch.archon.timed_regex import PatternError, UserPattern, user_pattern
from archon_batch.archon.trace import ComponentStory, LayerStory, Story, story_of
from archon_batch.archon.verdict_scale import SCALES, ScaleName, holds_tag, read_tag

__all__ = [
    "EXTRACTORS",
    "KINDS",
    "LEAST_SECONDS",
    "MOST_SECONDS",
    "SANDBOX",
    "SCALES",
    "SECONDS",
    "Answer",
    "Architecture",
    "Ask",
    "Bounds",
    "Call",
    "CallKey",
    "Candidate",
    "Component",
    "ComponentStory",
    "Contribution",
    "Course",
    "Done",
    "Execution",
    "Flow",
    "Form",
    "GaveUp",
    "JsonReply",
    "Judge",
    "LayerStory",
    "ListPrice",
    "Message",
    "Model",
    "ModelComponent",
    "Note",
    "NoteKind",
    "Passed",
    "PatternError",
    "Question",
    "Reading",
    "Remark",
    "Reply",
    "Request",
    "Result",
    "Results",
    "ScaleName",
    "Scene",
    "State",
    "Steps",
    "Story",
    "Told",
    "UnreadableError",
    "Usage",
    "UserPattern",
    "UsesCritiques",
    "Verdict",
    "Work",
    "ask",
    "boxed",
    "called_in",
    "calls",
    "checked",
    "code_of",
    "enclosed",
    "estimated",
    "expression",
    "fenced",
    "fitted",
    "flow_of",
    "flows",
    "guarded",
    "holds_tag",
    "is_reference",
    "json_form",
    "json_values",
    "letter",
    "marked",
    "matched",
    "nearest",
    "number",
    "plain",
    "plan",
    "read_architecture",
    "read_json",
    "read_reference",
    "read_tag",
    "refuse_broken",
    "refuse_long",
    "refuse_secrets",
    "run",
    "shuffled",
    "stated",
    "story_of",
    "tell",
    "texts",
    "together",
    "trace",
    "user_pattern",
    "warnings",
    "without_thoughts",
]
