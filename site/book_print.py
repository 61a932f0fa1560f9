"""What the book on paper needs beside what its site needs (book_site.py): how an output becomes LaTeX.

Knows: how a claim, a caption and an address stand in print, the fonts and the measures of the page.
Doesn't know: which cells and pages are printed (tools/pdf.py).
"""

import re

import myst_nb.sphinx_
from book_site import BookRenderer
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

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
\newtcolorbox{claimbox}[1]{enhanced, frame hidden, boxrule=0pt, arc=1pt, colback=#1!8!white, left=9pt, right=6pt,
  top=4pt, bottom=4pt, borderline west={2.5pt}{0pt}{#1}, before skip=9pt, after skip=9pt,
  before upper={\parskip=3pt\parindent=0pt}, fontupper=\small}
\newenvironment{sphinxclassholds}{\begin{claimbox}{green!45!black}}{\end{claimbox}}
\newenvironment{sphinxclassfails}{\begin{claimbox}{red!75!black}}{\end{claimbox}}
\newenvironment{sphinxclassmeasured}{\footnotesize}{\par}
\newenvironment{sphinxclasssources}{\small\raggedright}{\par}
% Not \begin{center}: a page may end before that, which would part a caption from its picture.
\newenvironment{sphinxclasscaption}{\par\nopagebreak\vspace{3pt}\begingroup\small\centering}{\par\endgroup\medskip}
\definecolor{codebackground}{gray}{0.96}
\sphinxsetup{VerbatimColor={named}{codebackground}, VerbatimBorderColor={named}{codebackground},
  verbatimhintsturnover=false, verbatimvisiblespace={}}
\newcolumntype{T}{L}  % Sphinx's columns of tables, ragged
\AtBeginEnvironment{tabulary}{\small\renewcommand{\arraystretch}{1.15}}  % fractions stay apart
\setlength{\tymin}{45pt}  % a column that needs no more than this is not narrowed
\protected\def\sphinxtablecontinued#1{}  % it would number tables, which have no numbers
\makeatletter  % where code ends with a page, framed.sty would begin the next one with an empty rest of it
\let\lastframe\sphinxVerbatim@LastFrameCommand
\def\sphinxVerbatim@LastFrameCommand#1{\setbox\z@\hbox{#1}\ifdim\dimexpr\ht\z@+\dp\z@>1pt \lastframe{\box\z@}\fi}
\makeatother
\fvset{fontsize=\fontsize{7.3}{8.9}\selectfont}  % a line of code has up to 120 characters
"""
COLOPHON = r"""
\newcommand{\sphinxbackoftitlepage}{\vspace*{\fill}\noindent\copyright\ %s %s\par\medskip\noindent
  The text, the formulas, the figures and the exercises are licensed under the Creative Commons Attribution 4.0
  International License (CC BY 4.0), \url{https://creativecommons.org/licenses/by/4.0/}; the code is under the MIT
  License.\par}
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
    sentence = nodes.paragraph("", "", *raised(mark + record["sentence"]))
    facts = nodes.container("", nodes.paragraph("", "", *raised(record["facts"])), classes=["measured"])
    return nodes.container("", sentence, facts, classes=[verdict])


def raised(text):
    """Plain text as nodes: what follows a ^, a word, a number or what is in brackets, as a superscript."""
    parts = re.split(r"\^(\(.*?\)|\N{MINUS SIGN}?\w+)", text)
    return [nodes.superscript("", part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts)]


def tighten_sources(app, doctree):
    """Print lists of sources small."""
    for bullets in list(doctree.findall(nodes.bullet_list)):
        if bullets.parent["names"] in (["sources"], ["bibliography"]):
            small = nodes.container("", classes=["sources"])
            bullets.replace_self(small)
            small.append(bullets)


def clear_empty_cells(app, doctree):
    """Take the paragraph out of each empty cell of a table: on paper it would be a line more."""
    for cell in doctree.findall(nodes.entry):
        if not cell.astext():
            cell.clear()


class PlaceAddresses(SphinxPostTransform):
    """Number each chapter's footnotes from 1. The addresses of sources stand in the bibliography, and nowhere else."""

    default_priority = 500  # after Sphinx has made each address a footnote (400), before it places them (600)
    formats = ("latex",)

    def run(self, **kwargs):
        for page in self.document.findall(addnodes.start_of_file):
            number = 0
            for footnote in list(page.findall(nodes.footnote)):
                parent, place = footnote.parent, footnote.parent.index(footnote)  # its mark follows it
                if _is_in_sources(footnote):
                    address = [nodes.Text(" ("), *footnote[1].children, nodes.Text(")")]
                    parent[place : place + 2] = address if page["docname"] == "bibliography" else []
                else:
                    number += 1
                    footnote[0][0], parent[place + 1][0] = nodes.Text(str(number)), nodes.Text(str(number))


def _is_in_sources(node):
    while node and "sources" not in node.get("classes", []):
        node = node.parent
    return node is not None


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
        "tableofcontents": r"{\footnotesize\sphinxtableofcontents}",
        "printindex": "",
        "preamble": PREAMBLE + COLOPHON % (config.copyright, config.author),
    }


def setup(app):
    myst_nb.sphinx_.load_renderer = lambda name: PrintRenderer
    app.add_post_transform(PlaceAddresses)
    app.connect("doctree-read", tighten_sources)
    app.connect("doctree-read", clear_empty_cells)
    app.connect("config-inited", configure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
