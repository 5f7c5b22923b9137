"""Human ratings: campaigns, blind comparisons, judgements, statistics, files. Loads neither torch nor gradio."""
