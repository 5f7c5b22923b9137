"""The Rate tab: two answers at a time, judged blind, in one custom component; and the sign-in where it is possible.

Like the board: a constant skeleton, data as lines (`lines.py`), nodes by textContent in assets/rate/. `reply` is the
server's answer to the script's last message, which is sent again until it is answered.
"""

from typing import Any

import gradio as gr

from components.board import ASSETS
from components.gate import oauth_on
from components.rating import Rater

_BEHIND: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

SKELETON = """
<div class="rate">
  <p class="notice" role="status"></p>

  <section class="screen page" data-screen="free" aria-label="Judge what you compared" hidden>
    <h2 tabindex="-1">Judge what you just compared</h2>
    <p>Run a comparison on Compare, then come here: two of its answers are shown as A and B, on sides drawn by chance,
      and you say which is better. You may have seen whose answer is whose, so these judgements are marked as not blind
      and kept apart from those of studies.</p>
    <p class="small">Kept are the prompt, the answers and your judgement, and nothing that says who you are: you get a
      code, and can delete all of it at any time.</p>
    <p class="acts"><button type="button" class="primary" data-act="free">Judge a pair</button></p>
    <form class="entry" data-form="campaign">
      <label>Were you sent a link to a study?
        <input name="text" autocomplete="off" spellcheck="false" placeholder="the link, or what follows rate="></label>
      <button type="submit" class="quiet">Open</button>
    </form>
    <p class="acts data"><button type="button" class="quiet" data-act="data" hidden>Your code and your data</button></p>
  </section>

  <section class="screen page" data-screen="start" aria-label="Study" hidden>
    <h2 class="title" tabindex="-1" dir="auto"></h2>
    <p class="size"></p>
    <h3>What you do</h3>
    <p class="guidelines" dir="auto"></p>
    <figure class="sample">
      <figcaption>An example</figcaption>
      <dl>
        <dt>Prompt</dt><dd>What is the capital of Kenya?</dd>
        <dt>A</dt><dd>Kenya lies in East Africa, and its long coast draws visitors from everywhere.</dd>
        <dt>B</dt><dd>Nairobi.</dd>
      </dl>
      <p>B is better: it says what was asked. That A is longer, or reads well, does not count.</p>
    </figure>
    <h3>What is kept</h3>
    <ul>
      <li>Your judgements: choice, marks, tags and comments; when you gave them, and how long you took.</li>
      <li class="by-code">Nothing that says who you are: you get a code, and of it a fingerprint alone is kept.</li>
      <li class="by-login" hidden>Your Hugging Face user name, since this study asks you to sign in.</li>
      <li>No e-mail address and no IP address. What could not be sent yet stays in this browser until it is.</li>
      <li>The organiser may publish the judgements, never who made them. You can delete all of yours at any time, under
        “Your data”.</li>
    </ul>
    <p class="acts">
      <button type="button" class="primary" data-act="start">Start</button>
      <span class="who"></span>
      <button type="button" class="quiet by-code" data-act="have-code">Go on with my code</button>
    </p>
    <form class="entry" data-form="code" hidden>
      <label>Your code <input name="text" autocomplete="off" spellcheck="false" placeholder="XXXX-XXXX-…"></label>
      <button type="submit" class="quiet">Go on</button>
    </form>
  </section>

  <section class="screen page" data-screen="code" aria-label="Your code" hidden>
    <h2 tabindex="-1">Your code</h2>
    <p class="code"></p>
    <p>Copy it now: with it you go on on another device, and change or delete what you said. This browser remembers
      it; we do not, and nobody can find it again for you.</p>
    <p class="acts">
      <button type="button" class="primary" data-act="begin">Go on</button>
      <button type="button" class="quiet" data-act="copy">Copy</button>
    </p>
  </section>

  <section class="screen" data-screen="task" aria-label="Comparison" hidden>
    <div class="bar">
      <h2 class="where" tabindex="-1"></h2>
      <div class="tools">
        <button type="button" class="quiet" data-act="back" hidden>Leave it as it was</button>
        <button type="button" class="quiet" data-act="undo" title="Take your latest judgement back">Undo <kbd>U</kbd>
        </button>
        <button type="button" class="quiet" data-act="history" title="What you said, to change it">Earlier <kbd>E</kbd>
        </button>
        <button type="button" class="quiet" data-act="guide">Guidelines <kbd>G</kbd></button>
        <button type="button" class="quiet" data-act="keys">Keys <kbd>?</kbd></button>
        <button type="button" class="quiet" data-act="data">Your data</button>
      </div>
    </div>
    <progress max="1" value="0" aria-label="Comparisons judged"></progress>
    <p class="reveal" hidden></p>
    <div class="lesson" role="note" aria-label="How it works" hidden>
      <ol>
        <li><b>Read both</b> to the end. A and B answer the same prompt; who is on which side is chance.</li>
        <li><b>Choose</b> with a button<span class="by-key">, or press the key printed on it</span>.</li>
        <li><b>Slipped?</b> “Undo” takes your latest judgement back; “Earlier” changes any.</li>
      </ol>
      <button type="button" class="quiet" data-act="learnt">Got it</button>
    </div>
    <div class="asked"><h3>Prompt</h3><p class="prompt" dir="auto" tabindex="0" aria-label="Prompt"></p></div>
    <div class="pair">
      <article class="side" data-side="left" aria-label="Answer A">
        <h3>A</h3><div class="answer" dir="auto" tabindex="0" role="region" aria-label="Text of A"></div>
        <div class="scales"></div>
      </article>
      <article class="side" data-side="right" aria-label="Answer B">
        <h3>B</h3><div class="answer" dir="auto" tabindex="0" role="region" aria-label="Text of B"></div>
        <div class="scales"></div>
      </article>
    </div>
    <div class="vote" role="group" aria-label="Your judgement">
      <button type="button" data-verdict="left">A is better <kbd>1</kbd><kbd>←</kbd></button>
      <button type="button" data-verdict="right">B is better <kbd>2</kbd><kbd>→</kbd></button>
      <button type="button" data-verdict="both_good">Both good <kbd>3</kbd><kbd>↑</kbd></button>
      <button type="button" data-verdict="both_bad">Both bad <kbd>4</kbd><kbd>↓</kbd></button>
      <button type="button" data-verdict="unsure">Can't judge <kbd>0</kbd></button>
    </div>
    <div class="more">
      <div class="strength" role="group" aria-label="How much better">
        <span>How much better?</span>
        <button type="button" data-strength="1">Slightly <kbd>,</kbd></button>
        <button type="button" data-strength="2">Clearly <kbd>.</kbd></button>
      </div>
      <div class="tags" role="group" aria-label="Tags"></div>
      <label class="comment">Comment <textarea rows="2" maxlength="4000" placeholder="Optional"></textarea></label>
    </div>
    <div class="cast">
      <button type="button" class="primary" data-act="cast" disabled>Save and next <kbd>Enter</kbd></button>
      <label><input type="checkbox"> Save as soon as I choose</label>
    </div>
  </section>

  <section class="screen page" data-screen="rest" aria-label="Where you are" hidden>
    <h2 tabindex="-1"></h2>
    <p class="about"></p>
    <p class="code"></p>
    <p class="reveal" hidden></p>
    <p class="acts">
      <button type="button" class="primary" data-act="free" hidden>Judge another pair</button>
      <button type="button" class="quiet" data-act="again" hidden>Look again</button>
      <button type="button" class="quiet" data-act="undo">Undo</button>
      <button type="button" class="quiet" data-act="history">Change earlier answers</button>
      <button type="button" class="quiet" data-act="data">Your data</button>
    </p>
  </section>

  <dialog aria-labelledby="rate-sheet">
    <div class="head"><h2 id="rate-sheet"></h2><button type="button" class="quiet" data-act="close">Close</button></div>
    <div class="body"></div>
  </dialog>
</div>
"""


def judging(can_sign_in: bool) -> gr.HTML:
    """The component. Its trigger: `submit` with a message, which `reply` answers."""
    script = "\n".join(file.read_text(encoding="utf-8") for file in sorted((ASSETS / "rate").glob("*.js")))
    return gr.HTML(
        "",
        html_template=SKELETON,
        js_on_load=script,
        apply_default_css=False,
        elem_id="rate",
        reply="",
        signs=can_sign_in,
        padding=False,
    )


def rate_tab(blocks: gr.Blocks, tabs: gr.Tabs, rater: Rater) -> None:
    """Build the tab inside the Blocks under construction, and connect it."""
    rater.desk.open_free(rater.family, rater.title)
    view = judging(oauth_on())
    if oauth_on():
        with gr.Row(elem_id="rate-sign"):  # the script shows it where a study asks for it
            gr.LoginButton(size="md", min_width=0, scale=0)
    view.submit(rater.answer, None, view, queue=False, trigger_mode="multiple", **_BEHIND)
    blocks.load(rater.open_link, None, tabs, queue=False, **_BEHIND)
