"""Answers from what is stored."""
