"""The limits of models, kept over all workers: in Redis when there is one, else in the database."""

from archon_batch.calls.figures import limit_usage
from archon_batch.calls.model_limiter import ModelLimiter, Permit
from archon_batch.calls.model_limiters import ModelLimiters
from archon_batch.calls.seam import DatabaseLimitBackend, LimitBackend, open_limit_backend

__all__ = [
    "DatabaseLimitBackend",
    "LimitBackend",
    "ModelLimiter",
    "ModelLimiters",
    "Permit",
    "limit_usage",
    "open_limit_backend",
]
