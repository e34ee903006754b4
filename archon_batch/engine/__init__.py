"""Celery tasks, workers and scheduler. Transport only: decisions are made in `jobs`."""
