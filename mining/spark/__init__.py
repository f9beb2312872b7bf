"""Spark adapters around the pure functions: the only importers of pyspark."""
