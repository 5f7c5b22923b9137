"""gradio's theme in the colours of LOOK.md; style.css has the same palette for what is ours alone."""

import gradio as gr

from components.scale import GROUND, INK

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]

# name: (light, dark), as LOOK.md gives them
MUTED = ("#59636e", "#9198a1")
LINE = ("#d1d9e0", "#3d444d")
PANEL = ("#f6f8fa", "#151b23")
ACCENT = ("#0072b2", "#58a6ff")
ON_ACCENT = ("#ffffff", "#0d1117")
CLEAR = ("transparent", "transparent")

_COLOURS = {
    "body_background_fill": GROUND,
    "body_text_color": INK,
    "body_text_color_subdued": MUTED,
    "background_fill_primary": GROUND,
    "background_fill_secondary": PANEL,
    "border_color_primary": LINE,
    "border_color_accent": ACCENT,
    "block_background_fill": CLEAR,
    "block_info_text_color": MUTED,
    "block_label_text_color": INK,
    "block_title_text_color": INK,
    "panel_background_fill": PANEL,
    "input_background_fill": GROUND,
    "input_background_fill_focus": GROUND,
    "input_border_color": LINE,
    "input_border_color_focus": ACCENT,
    "input_placeholder_color": MUTED,
    "link_text_color": ACCENT,
    "link_text_color_hover": ACCENT,
    "link_text_color_visited": ACCENT,
    "slider_color": ACCENT,
    "loader_color": ACCENT,
    "checkbox_label_background_fill": GROUND,
    "checkbox_label_background_fill_hover": PANEL,
    "checkbox_label_background_fill_selected": GROUND,
    "checkbox_label_border_color": LINE,
    "checkbox_label_border_color_selected": ACCENT,
    "checkbox_label_text_color": INK,
    "checkbox_label_text_color_selected": INK,
    "checkbox_background_color_selected": ACCENT,
    "checkbox_border_color_selected": ACCENT,
    "button_primary_background_fill": ACCENT,
    "button_primary_background_fill_hover": ("#005f94", "#79b8ff"),
    "button_primary_border_color": ACCENT,
    "button_primary_text_color": ON_ACCENT,
    "button_secondary_background_fill": PANEL,
    "button_secondary_background_fill_hover": LINE,
    "button_secondary_border_color": LINE,
    "button_secondary_text_color": INK,
}


def theme() -> gr.themes.Base:
    """System fonts, flat surfaces, one accent."""
    base = gr.themes.Base(font=FONT, font_mono=MONO, radius_size="sm", spacing_size="sm", text_size="md")
    pairs = {name: light for name, (light, _) in _COLOURS.items()}
    pairs |= {f"{name}_dark": dark for name, (_, dark) in _COLOURS.items()}
    flat = {"block_border_width": "0px", "block_shadow": "none", "input_border_width": "1px"}
    return base.set(**pairs, **flat, block_info_text_size="13px")
