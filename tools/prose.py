"""What may stand in a chapter's Markdown: no number and no outcome of a run, nothing that only one renderer reads.

Knows: how to recognise them. Doesn't know: whether a number is right; a cell prints those that a run measured.

A percentage, a decimal, a time, a ratio ("3 times faster") looks measured. It may be typed
- in a paragraph that links to its source: a number from a paper or a data sheet;
- as mathematics, $30\\,\\%$: a number that the argument makes up, or derives;
- in a name (Software 2.0, Python 3.11, section 4.3, 95% interval) and in the line that prices an exercise.
A sentence that begins "On CIFAR-10", or with another data set, tells an outcome: a claim or `say` must, so that a cell
checks it.
"""

import re

MATH = re.compile(r"\$\$.*?\$\$|(?<![\\$])\$(?!\s)[^$\n]+?(?<!\s)\$", re.S)
CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.S | re.M)
LINK = re.compile(r"\]\([^)]*\)|<https?://[^>]*>|https?://\S+")
NAME = re.compile(
    r"\b(Software|Python|torch|CUDA|CC BY(-\w+)*|section|chapter|equation|eq\.|figure|table|version)\s+[\d.]*\d"
    r"|\d+ ?% (confidence )?interval|^Difficulty .* points?\b",
    re.I,
)
MEASURED = re.compile(
    r"\d[\d.,]*\s?(%|‰|per\s?cent\b|(percentage )?points?\b|(milli)?seconds?\b|minutes?\b|hours?\b|ms\b|"
    r"times (as|more|less|fewer|faster|slower|larger|smaller|better|worse)\b|[x×](?!\s?\d))|\d+\.\d+"
)
OUTCOME = re.compile(
    r"(?:^|(?<=[.:;!?)] ))On (?:CIFAR-10|(?:Fashion-)?MNIST|`?(?:shapes|digits)`?|the (?:built-in|drawn))\b[^.]*", re.M
)
SYNTAX = {
    "a MyST role": re.compile(r"\{[\w:.-]+\}`"),
    "a MyST directive": re.compile(r"^\s*(:{3,}|`{3,}\{)", re.M),
    "a MyST label": re.compile(r"^\([\w-]+\)=\s*$", re.M),
    "a MyST comment": re.compile(r"^%", re.M),
    "a numbered equation that only MyST reads": re.compile(r"\$\$\s*\([\w-]+\)\s*$", re.M),
    "HTML other than <details> and <summary>": re.compile(r"</?(?!details|summary|https?:)[a-z]+[\s>]"),
}


def measured_numbers(markdown):
    """Numbers in a Markdown text that look measured and stand in a paragraph without a link to a source, as typed."""
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-*] |\s*\d+\. |\|)", CODE.sub(" ", markdown)):
        if not LINK.search(paragraph):
            text = NAME.sub(" ", MATH.sub(" ", paragraph))
            found += [match.group() for match in MEASURED.finditer(text)]
    return found


def outcomes(markdown):
    """Sentences of a Markdown text that tell what came out on one of the data sets."""
    return OUTCOME.findall(markdown)


def foreign_syntax(markdown):
    """Names of what in a Markdown text does not read right in JupyterLab, Colab, GitHub and on the site alike."""
    text = re.sub(r"^(```|~~~)(?!\{).*?^\1", " ", markdown, flags=re.S | re.M)
    text = MATH.sub(" $$ ", re.sub(r"(?<![`}])`[^`\n]+`(?!`)", " ", text))  # a role ends in code: {ref}`here`
    return [name for name, pattern in SYNTAX.items() if pattern.search(text)]
