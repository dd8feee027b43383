"""Codecs: bytes of one value ↔ arrays. Synchronous and thread-safe."""
