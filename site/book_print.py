"""What the book on paper needs beside what its site needs (book_site.py): how an output becomes LaTeX.

Knows: how a claim and a caption stand in print, the fonts and the measures of the page.
Doesn't know: which cells and pages are printed (tools/pdf.py).
"""

import myst_nb.sphinx_
from book_site import BookRenderer
from docutils import nodes

# What tools/pdf.py makes of an output: {"holds": bool, "sentence": text, "facts": text}, and Markdown below a picture.
CLAIM, CAPTION = "application/vnd.book.paper-claim+json", "application/vnd.book.caption+markdown"
# Environments called sphinxclassNAME are what Sphinx puts around a container of the class NAME.
PREAMBLE = r"""
\setcounter{secnumdepth}{0}  % the chapters number their sections themselves
\setcounter{tocdepth}{1}
\fancypagestyle{normal}{\fancyhf{}\fancyhead[L]{\nouppercase{\leftmark}}\fancyhead[R]{\thepage}
  \renewcommand{\headrulewidth}{0.4pt}\renewcommand{\footrulewidth}{0pt}}
\fancypagestyle{plain}{\fancyhf{}\fancyfoot[R]{\thepage}
  \renewcommand{\headrulewidth}{0pt}\renewcommand{\footrulewidth}{0pt}}
\emergencystretch=3em
\clubpenalty=10000 \widowpenalty=10000
\usepackage[skins]{tcolorbox}
\newtcolorbox{claimbox}[1]{blanker, left=9pt, borderline west={2.5pt}{0pt}{#1}, before skip=9pt,
  after skip=9pt, before upper={\parskip=3pt\parindent=0pt}, fontupper=\small}
\newenvironment{sphinxclassholds}{\begin{claimbox}{green!45!black}}{\end{claimbox}}
\newenvironment{sphinxclassfails}{\begin{claimbox}{red!75!black}}{\end{claimbox}}
\newenvironment{sphinxclassmeasured}{\footnotesize}{\par}
% Not \begin{center}: a page may end before that, which would part a caption from its picture.
\newenvironment{sphinxclasscaption}{\par\nopagebreak\vspace{3pt}\begingroup\small\centering}{\par\endgroup\medskip}
\definecolor{codebackground}{gray}{0.96}
\sphinxsetup{VerbatimColor={named}{codebackground}, VerbatimBorderColor={named}{codebackground},
  verbatimhintsturnover=false, verbatimvisiblespace={}}
\newcolumntype{T}{L}  % Sphinx's columns of tables, ragged
\AtBeginEnvironment{tabulary}{\small}
\fvset{fontsize=\footnotesize}
"""
FONTS = r"""
\setmainfont{FreeSerif}
\setsansfont{FreeSans}
\setmonofont[Scale=0.85]{DejaVu Sans Mono}
"""


class PrintRenderer(BookRenderer):
    """The site's renderer, with claims and captions as LaTeX wants them."""

    def render_image(self, data):
        """A picture in the middle, its letters no larger than those of the text."""
        images = super().render_image(data)
        for image in images:
            image["scale"], image["align"] = 75, "center"
        return images

    def render_unhandled(self, data):
        """A claim's record as a marked sentence with what was measured; a caption below its picture."""
        if data.mime_type == CLAIM:
            return [claim(data.content)]
        if data.mime_type == CAPTION:
            return [nodes.container("", *self.render_markdown(data), classes=["caption"])]
        return super().render_unhandled(data)


def claim(record):
    """A claim as nodes."""
    mark, verdict = ("✓ ", "holds") if record["holds"] else ("✗ ", "fails")
    sentence = nodes.paragraph("", mark + record["sentence"])
    facts = nodes.container("", nodes.paragraph("", record["facts"]), classes=["measured"])
    return nodes.container("", sentence, facts, classes=[verdict])


def configure(app, config):
    """Sphinx's settings for LaTeX."""
    config.latex_engine = "xelatex"
    config.latex_show_pagerefs = True
    config.latex_show_urls = "footnote"
    config.nb_mime_priority_overrides = [("latex", CLAIM, 1), ("latex", CAPTION, 1)]
    config.latex_elements = {
        **config.latex_elements,
        "papersize": "a4paper",
        "pointsize": "10pt",
        "extraclassoptions": "oneside,openany",
        "fontpkg": FONTS,
        "fncychap": "",
        "tableofcontents": r"{\small\sphinxtableofcontents}",
        "printindex": "",
        "preamble": PREAMBLE,
    }


def setup(app):
    myst_nb.sphinx_.load_renderer = lambda name: PrintRenderer
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
