"""Examine what is deployed: ask it an exam, and compare its answers with this image's own."""
