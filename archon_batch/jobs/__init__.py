"""A job from submission to export: forecast, shard steps, views, verification."""
