"""Typical wrong answers, one module per chapter: each must fail its check with a message of its own.

A module holds `wrong = WrongAnswers()` and decorates each answer with `@wrong("<exercise>", "<part of the message>")`.
"""


class WrongAnswers(list):
    """[(exercise, part of the message, answer), ...]"""

    def __call__(self, exercise, message):
        return lambda answer: self.append((exercise, message, answer))
