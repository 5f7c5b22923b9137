"""Which EFT Lab this is. First in the flow."""

VERSION = "0.7.0"
SOFTWARE = f"eft-lab {VERSION}"
