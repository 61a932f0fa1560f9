"""What the exercises ask for: one module per chapter, named like its notebook, each with its `check`.

To add an exercise: in the notebook a task, a cell `# EXERCISE: <id>` with its solution and a check cell; here a
function; in tests/wrong_answers/ at least three wrong answers. tests/test_exercises.py says what is missing.
"""
