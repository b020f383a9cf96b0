"""Atomic writing of files and folders, safe deletion, and safe deserialization."""
