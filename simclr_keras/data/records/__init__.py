"""Streams of record files: shards per host and a shuffle that resumes anywhere."""
