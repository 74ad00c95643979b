"""Draws the figures of the documentation, as SVG that follows the reader's light or dark setting.

Run it after a change: ``python docs/figures/draw.py``. Figures are 400 wide at most, so that a phone shows them legibly.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent

STYLE = """
  :root { --ink: #24292f; --line: #6e7781; --step: #f3f4f6; --end: #dbe4ff; --mark: #ffe8cc }
  @media (prefers-color-scheme: dark) {
    :root { --ink: #e6e8eb; --line: #9aa3ad; --step: #2c313a; --end: #2a3a66; --mark: #5a4022 }
  }
  text { font: 13px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); text-anchor: middle }
  text.code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 12px }
  text.label { font-size: 12px; fill: var(--line) }
  text.left { text-anchor: start }
  rect { stroke: var(--line); rx: 6px }
  path { fill: none; stroke: var(--line); stroke-width: 1.4px }
  .step { fill: var(--step) } .end { fill: var(--end) } .mark { fill: var(--mark) }
  marker path { fill: var(--line); stroke: none }
""".strip()

LINE = 16
"""Between two lines of text."""


class Figure:
    """A drawing.

    Args:
        name: of the file, without its ending.
        title: what it shows, for those who cannot see it.
    """

    def __init__(self, name: str, title: str, width: int, height: int) -> None:
        self.name = name
        self._head = f"<title>{escape(title)}</title>"
        self._size = width, height
        self._parts: list[str] = []

    def box(self, x: int, y: int, width: int, height: int, lines: Sequence[str], kind: str = "step") -> None:
        """Draw a box; a line that begins with a backtick is code."""
        self._parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>')
        first = y + (height - LINE * len(lines)) // 2 + 12
        for number, line in enumerate(lines):
            self.text(x + width // 2, first + LINE * number, line)

    def text(self, x: int, y: int, line: str, kind: str = "") -> None:
        """Write one line, centred unless its kind is another."""
        kind = f"{kind} code".strip() if line.startswith("`") else kind
        attribute = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text x="{x}" y="{y}"{attribute}>{escape(line.strip("`"))}</text>')

    def arrow(self, *points: tuple[int, int], label: str = "", at: tuple[int, int] = (0, 0)) -> None:
        """Draw an arrow through points, with a label beside it."""
        way = " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(points))
        self._parts.append(f'<path d="{way}" marker-end="url(#head)"/>')
        if label:
            self.text(*at, label, "label")

    def svg(self) -> str:
        """Return the file's text."""
        width, height = self._size
        head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
                self._head,
                f"<style>\n  {STYLE}\n</style>",
                f'<defs>{head}<path d="M0 0L8 4L0 8z"/></marker></defs>',
                *self._parts,
                "</svg>\n",
            )
        )


def models() -> Figure:
    """Draw how a concurrency model is chosen."""
    questions = [
        (["One client at a time, or", "datagrams cheap to answer?"], ["`no mix-in", "the loop itself"]),
        (["Must a crash end one", "request and no other?"], ["`ForkingMixIn", "a process each"]),
        (
            ["Do handlers wait for the", "network alone, on many", "connections?"],
            ["`GreenletMixIn", "one hub for all"],
        ),
        (
            ["Many short requests, or", "kept connections that", "are mostly idle?"],
            ["`ThreadPoolMixIn", "a bounded number", "of threads"],
        ),
    ]
    figure = Figure("models", "Questions that lead to a concurrency model", 400, 560)
    top, height, gap = 4, 72, 28
    for question, answer in questions:
        figure.box(4, top, 206, height, question)
        figure.box(258, top, 138, height, answer, "end")
        middle = top + height // 2
        figure.arrow((210, middle), (256, middle), label="yes", at=(231, middle - 6))
        figure.arrow(
            (107, top + height), (107, top + height + gap - 2), label="no", at=(123, top + height + 18)
        )
        top += height + gap
    figure.box(4, top, 206, 52, ["`ThreadingMixIn", "a thread each"], "end")
    figure.box(
        4,
        top + 82,
        392,
        68,
        ["Does one core not suffice?", "`PreforkMixIn", "before it: several processes of any of these"],
        "mark",
    )
    figure.arrow((107, top + 52), (107, top + 80))
    figure.arrow((327, top - gap), (327, top + 80))
    return figure


def states() -> Figure:
    """Draw the states of a service."""
    figure = Figure("states", "The states of a service, and what leads from one to another", 400, 420)
    for x, y, name in (
        (20, 4, "NEW"),
        (20, 94, "BOUND"),
        (20, 194, "SERVING"),
        (270, 194, "SUSPENDED"),
        (145, 294, "DRAINING"),
    ):
        figure.box(x, y, 110, 40, [f"`{name}"])
    figure.box(145, 376, 110, 40, ["`CLOSED"], "end")
    figure.arrow((75, 44), (75, 92), label="it listens", at=(108, 72))
    figure.arrow((60, 134), (60, 192))
    figure.text(68, 168, "`serve_forever()", "label left")
    figure.arrow((130, 206), (268, 206), label="`suspend()", at=(199, 199))
    figure.arrow((270, 224), (132, 224), label="`resume()", at=(199, 241))
    figure.arrow((75, 234), (75, 314), (143, 314), label="`drain()", at=(108, 307))
    figure.arrow((325, 234), (325, 314), (257, 314), label="`drain()", at=(290, 307))
    figure.arrow((40, 194), (40, 136))
    figure.arrow((325, 194), (325, 114), (132, 114))
    figure.text(236, 107, "`shutdown()", "label")
    figure.arrow((145, 326), (8, 326), (8, 114), (18, 114))
    figure.arrow((200, 334), (200, 374))
    figure.text(208, 352, "`server_close()", "label left")
    figure.text(208, 368, "from any state", "label left")
    return figure


def phases() -> Figure:
    """Draw the phases of a connection, as the sweep sees them."""
    figure = Figure(
        "phases", "The phases of a connection, the deadline of each, and what a drain does", 400, 430
    )
    figure.box(132, 4, 136, 56, ["`OPENING", "PROXY header, TLS"])
    figure.box(120, 124, 160, 56, ["`BUSY", "the handler's own time"], "end")
    figure.box(4, 254, 120, 56, ["`IDLE", "no octet yet"])
    figure.box(140, 254, 120, 56, ["`READING", "the rest of it"])
    figure.box(276, 254, 120, 56, ["`WRITING", "peer to take it"])
    figure.arrow((200, 60), (200, 122), label="finish_request()", at=(258, 96))
    for x, label in ((64, "waits for a request"), (200, "reads on"), (336, "sends")):
        start = 150 if x == 64 else (200 if x == 200 else 250)
        figure.arrow((start - 10, 180), (x - 10, 252))
        figure.arrow((x + 10, 254), (start + 10, 182))
        figure.text(x, 330, label, "label")
    figure.text(200, 352, "deadline:", "label")
    for x, lines in (
        (64, ("`idle_timeout", "input ends")),
        (200, ("`read_timeout", "input ends")),
        (336, ("`write_timeout", "cut")),
    ):
        figure.text(x, 374, lines[0])
        figure.text(x, 391, lines[1], "label")
    figure.text(64, 418, "a drain ends it now", "label")
    figure.text(268, 418, "a drain waits for these, and for BUSY", "label")
    figure.text(64, 28, "`handshake_timeout")
    figure.text(64, 45, "cut", "label")
    figure.text(342, 142, "no deadline but", "label")
    figure.text(342, 159, "`lifetime")
    figure.text(342, 176, "cut", "label")
    return figure


FIGURES = (models, states, phases)

if __name__ == "__main__":
    for draw in FIGURES:
        made = draw()
        (HERE / f"{made.name}.svg").write_text(made.svg(), "utf-8")
