"""Modules: objects that are called like functions and answer from a served model."""
