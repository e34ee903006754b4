"""Celery: shards, rounds and workers. It decides nothing; it moves what the road decides."""
