"""Executing calls: concurrency, rate limits, circuit breakers, attempts."""
