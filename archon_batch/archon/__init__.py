"""The Archon paper (arXiv 2409.15254) as values and pure functions: no I/O, no clock, no dice."""

from archon_batch.archon.architecture import Architecture
from archon_batch.archon.call import Call, CallKey, Form, Message, Reply, Usage
from archon_batch.archon.component import Bounds, Component, Scene, about
from archon_batch.archon.components import KINDS
from archon_batch.archon.fence import fenced
from archon_batch.archon.interpreter import run
from archon_batch.archon.model import ListPrice, Model
from archon_batch.archon.planner import Answer, Ask, GaveUp, plan
from archon_batch.archon.rules import arrivals, leaving, refuse_broken, warnings
from archon_batch.archon.schema import checked, nearest, read_architecture, refuse_secrets
from archon_batch.archon.state import Candidate, Contribution, Note, Question, State
from archon_batch.archon.steps import Reading, Request, Steps, UnreadableError, ask
from archon_batch.archon.texts import texts

__all__ = [
    "KINDS",
    "Answer",
    "Architecture",
    "Ask",
    "Bounds",
    "Call",
    "CallKey",
    "Candidate",
    "Component",
    "Contribution",
    "Form",
    "GaveUp",
    "ListPrice",
    "Message",
    "Model",
    "Note",
    "Question",
    "Reading",
    "Reply",
    "Request",
    "Scene",
    "State",
    "Steps",
    "UnreadableError",
    "Usage",
    "about",
    "arrivals",
    "ask",
    "checked",
    "fenced",
    "leaving",
    "nearest",
    "plan",
    "read_architecture",
    "refuse_broken",
    "refuse_secrets",
    "run",
    "texts",
    "warnings",
]
