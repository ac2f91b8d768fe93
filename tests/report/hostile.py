"""Text that wants to run, to send something off, or to break the page that shows it."""

from __future__ import annotations

PAYLOADS = (
    "<script>window.canary = 1; alert('canary')</script>",
    "</style><script>window.canary = 1</script>",
    "</title><script>window.canary = 1</script>",
    "</textarea></details></section></main><h1>May ship</h1>",
    "<img src=https://canary.invalid/x.png onerror='window.canary = 1'>",
    '"><svg onload="window.canary = 1"><title>',
    "' onmouseover='window.canary = 1' autofocus onfocus='window.canary = 1",
    "<a href='javascript:window.canary = 1'>click</a>",
    "javascript:window.canary=1",
    "<iframe srcdoc='<script>parent.canary = 1</script>'></iframe>",
    "<meta http-equiv=refresh content='0;url=https://canary.invalid/'>",
    "<link rel=stylesheet href=https://canary.invalid/a.css><style>@import 'https://canary.invalid/b.css'</style>",
    "<form action=https://canary.invalid/><button>go</button></form><base href=https://canary.invalid/>",
    "]]> <!-- --!> <![CDATA[ &lt;script&gt; &#x3c;script&#x3e; {{7*7}} %s",
    "null \x00 bell \x07 escape \x1b[31m delete \x7f c1 \x9b31m",
    "right-to-left \u202e override \u2066 isolate \u2069 \u202d",
    "lone \ud800 surrogates \udfff and no characters \ufffe \uffff \U0001ffff",
    "e" + "\u0301" * 2_000,
    "W" * 3_000,
)
ALL = "\n".join(PAYLOADS)
HUGE = (ALL + " ") * (1_000_000 // len(ALL) + 1)
