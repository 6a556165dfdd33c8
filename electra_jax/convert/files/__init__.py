"""Formats of files that hold tensors, each read without the library that wrote it; none of them knows of ELECTRA."""
