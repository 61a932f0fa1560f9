"""Course work from the book's chapters: hand out, hand in, grade."""
