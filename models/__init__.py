"""Sparse networks whose connections can be rewired while they learn."""
