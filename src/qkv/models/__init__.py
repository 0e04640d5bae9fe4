"""Whole models: an encoder, a decoder, and the attention between them."""
