"""Candidates with their vectors, kept in files, and which of them score best: exact search in blocks."""
