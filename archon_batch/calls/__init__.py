"""The limits of models, kept over all workers: in Redis when there is one, else in the database."""

from archon_batch.calls.figures import figures
from archon_batch.calls.model_limiter import Line, Permit
from archon_batch.calls.model_limiters import Lines
from archon_batch.calls.seam import Meters, StoredMeters, meters

__all__ = ["Line", "Lines", "Meters", "Permit", "StoredMeters", "figures", "meters"]
