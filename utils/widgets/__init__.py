"""The interactive figures, one module each; figure.py is what they share."""
