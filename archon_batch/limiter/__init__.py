"""The limits of models, kept over all workers: in Redis when there is one, else in the database."""

from archon_batch.limiter.figures import figures
from archon_batch.limiter.line import Line, Permit
from archon_batch.limiter.lines import Lines
from archon_batch.limiter.seam import Meters, StoredMeters, meters

__all__ = ["Line", "Lines", "Meters", "Permit", "StoredMeters", "figures", "meters"]
