"""Looking at a run: reads the tables through DuckDB, never through an engine."""
