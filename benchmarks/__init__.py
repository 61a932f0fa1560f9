"""Measurements of speed. They print what they find and assert nothing: a machine's speed is not the code's fault."""
