"""Clients: how a served model is asked."""
