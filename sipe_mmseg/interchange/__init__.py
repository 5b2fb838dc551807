"""Label maps in the formats of annotation tools: arrays in, text out, and back."""
