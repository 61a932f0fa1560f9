"""Interactive figures that compute in the browser, so that they work on the static site, in JupyterLab and in Colab.

Knows: how a figure's JavaScript is put together, and how its static picture and alt text travel with it, for GitHub,
print and readers without JavaScript. Doesn't know: what the figures draw; that is a module each beside this one, with
a script and a style sheet of the same name, which tests/browser compares with torch.

A new figure is a subclass of Figure with `_esm, _css = assets("name")`, its traits, `draw()` and `alt()`.
"""

import base64
import io
import re
from pathlib import Path

import anywidget
import matplotlib.pyplot as plt

HERE = Path(__file__).parent


def assets(name):
    """(ES module, CSS) of the figure `name`: name.js with the helpers of figure.js in place of its import of them,
    and figure.css with name.css behind it.

    A widget's script is handed to the browser as text, where a relative import leads nowhere.
    """
    helpers = re.sub(r"^export ", "", (HERE / "figure.js").read_text(encoding="utf-8"), flags=re.MULTILINE)
    script = (HERE / f"{name}.js").read_text(encoding="utf-8")
    imports = re.compile(r'^import \{[^}]*\} from "\./figure\.js";\n', re.MULTILINE)
    if len(imports.findall(script)) != 1:
        raise ValueError(f'utils/widgets/{name}.js must hold one line: import {{ ... }} from "./figure.js";')
    style = [(HERE / f"{part}.css").read_text(encoding="utf-8") for part in ("figure", name)]
    return imports.sub(lambda _: helpers, script), "\n".join(style)


class Figure(anywidget.AnyWidget):
    """An interactive figure with its static picture: base of the book's widgets."""

    def draw(self):
        """The figure as it stands, as a Matplotlib figure: what a reader without JavaScript sees."""
        raise NotImplementedError

    def alt(self):
        """What is to be seen, in words, with the values as they stand."""
        raise NotImplementedError

    # ipywidgets 7 (Colab's) shows a widget through this method if it is there, and would leave the picture out.
    _ipython_display_ = None

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        picture = io.BytesIO()
        drawn = self.draw()
        drawn.savefig(picture, format="png", dpi=150, metadata={"Software": None}, facecolor="white")
        plt.close(drawn)
        encoded = base64.b64encode(picture.getvalue()).decode()
        alt = self.alt()
        return {**data, "image/png": encoded, "text/plain": alt}, {**metadata, "image/png": {"alt": alt}}
