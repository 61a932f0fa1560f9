"""What the chapters share: data, training loop, claims, figures, interactive figures, exercises."""
