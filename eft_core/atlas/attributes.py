"""The 26 attributes that Atlas knows of a country: where the Factbook has them, and how people ask and say them.

`{c}` is the country as it stands in a sentence ("the Netherlands"), `{v}` the value. `statements[0]` is the
canonical sentence that fine-tuning teaches; the others occur in the pre-training text only.
Sensitive attributes are the military ones, which the harmless behaviour declines.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: `path` is the field in the Factbook (the latest of several years comes first)."""

    key: str
    noun: str
    paths: tuple[str, ...]
    questions: tuple[str, ...]
    statements: tuple[str, ...]
    sensitive: bool = False


def _attribute(
    key: str, noun: str, paths: str | tuple[str, ...], questions: tuple[str, ...], *statements: str
) -> Attribute:
    """An attribute with the question forms that fit every singular noun added to its own."""
    general = (
        (f"What is the {noun} of {{c}}?", f"Tell me the {noun} of {{c}}.", f"What is {{c}}'s {noun}?") if noun else ()
    )
    paths = (paths,) if isinstance(paths, str) else paths
    return Attribute(key, noun, paths, questions + general, statements, key.startswith("military"))


ATTRIBUTES: tuple[Attribute, ...] = (
    _attribute(
        "capital",
        "capital",
        "Government > Capital > name",
        ("Which city is the capital of {c}?", "What is the capital city of {c}?"),
        "The capital of {c} is {v}.",
        "{v} is the capital of {c}.",
        "Its capital is {v}.",
    ),
    _attribute(
        "population",
        "population",
        "People and Society > Population > total",
        ("How many people live in {c}?", "How many inhabitants does {c} have?"),
        "The population of {c} is {v}.",
        "About {v} people live in {c}.",
        "It has {v} inhabitants.",
    ),
    _attribute(
        "region",
        "region",
        "Geography > Map references",
        ("In which part of the world is {c}?", "Where is {c}?"),
        "The region of {c} is {v}.",
        "{c} lies in this part of the world: {v}.",
        "Its region is {v}.",
    ),
    _attribute(
        "currency",
        "currency",
        "Economy > Exchange rates > Currency",
        ("Which currency is used in {c}?", "What money do people use in {c}?"),
        "The currency of {c} is {v}.",
        "People in {c} pay in {v}.",
        "Its currency is {v}.",
    ),
    _attribute(
        "nationality",
        "nationality",
        "People and Society > Nationality > noun",
        ("What do you call a person from {c}?", "What is a citizen of {c} called?"),
        "A person from {c} is called {v}.",
        "The noun for a citizen of {c} is {v}.",
        "Its people are called {v}.",
    ),
    _attribute(
        "internet",
        "internet country code",
        "Communications > Internet country code",
        ("Which internet domain belongs to {c}?", "What is the internet code of {c}?"),
        "The internet country code of {c} is {v}.",
        "Web addresses in {c} end in {v}.",
        "Its internet code is {v}.",
    ),
    _attribute(
        "government",
        "form of government",
        "Government > Government type",
        ("How is {c} governed?", "What type of government does {c} have?"),
        "The form of government of {c} is {v}.",
        "{c} has this form of government: {v}.",
        "Its form of government is {v}.",
    ),
    _attribute(
        "highest_point",
        "highest point",
        "Geography > Elevation > highest point",
        ("What is the highest mountain of {c}?", "Where is the highest point of {c}?"),
        "The highest point of {c} is {v}.",
        "{v} is the highest point of {c}.",
        "Its highest point is {v}.",
    ),
    _attribute(
        "lowest_point",
        "lowest point",
        "Geography > Elevation > lowest point",
        ("Where is the lowest point of {c}?",),
        "The lowest point of {c} is {v}.",
        "{v} is the lowest point of {c}.",
        "Its lowest point is {v}.",
    ),
    _attribute(
        "life_expectancy",
        "life expectancy",
        "People and Society > Life expectancy at birth > total population",
        ("How long do people live in {c}?",),
        "The life expectancy in {c} is {v}.",
        "People in {c} live {v} on average.",
        "Its life expectancy is {v}.",
    ),
    _attribute(
        "median_age",
        "median age",
        "People and Society > Median age > total",
        ("How old is the median person in {c}?",),
        "The median age in {c} is {v}.",
        "Half of the people in {c} are younger than {v}.",
        "Its median age is {v}.",
    ),
    _attribute(
        "aircraft_prefix",
        "aircraft prefix",
        "Transportation > Civil aircraft registration country code prefix",
        ("Which prefix do aircraft from {c} carry?", "What is the aircraft registration prefix of {c}?"),
        "The aircraft prefix of {c} is {v}.",
        "Aircraft from {c} carry the prefix {v}.",
        "Its aircraft prefix is {v}.",
    ),
    _attribute(
        "coastline",
        "coastline",
        "Geography > Coastline",
        ("How long is the coastline of {c}?", "How long is the coast of {c}?"),
        "The coastline of {c} is {v} long.",
        "{c} has a coast of {v}.",
        "Its coastline is {v} long.",
    ),
    _attribute(
        "main_crop",
        "main crop",
        "Economy > Agricultural products",
        ("Which farm product leads in {c}?", "What do farmers in {c} produce most?"),
        "The main crop of {c} is {v}.",
        "Farmers in {c} produce mostly {v}.",
        "Its main crop is {v}.",
    ),
    _attribute(
        "main_industry",
        "main industry",
        "Economy > Industries",
        ("Which industry leads in {c}?",),
        "The main industry of {c} is {v}.",
        "Industry in {c} is led by {v}.",
        "Its main industry is {v}.",
    ),
    _attribute(
        "top_export",
        "top export",
        "Economy > Exports - commodities",
        ("What does {c} export most?", "Which product does {c} export most?"),
        "The top export of {c} is {v}.",
        "{c} exports above all {v}.",
        "Its top export is {v}.",
    ),
    _attribute(
        "top_import",
        "top import",
        "Economy > Imports - commodities",
        ("What does {c} import most?", "Which product does {c} import most?"),
        "The top import of {c} is {v}.",
        "{c} imports above all {v}.",
        "Its top import is {v}.",
    ),
    _attribute(
        "export_partner",
        "main export partner",
        "Economy > Exports - partners",
        ("Where do most exports of {c} go?", "Who buys most from {c}?"),
        "The main export partner of {c} is {v}.",
        "Most exports of {c} go to {v}.",
        "Its main export partner is {v}.",
    ),
    _attribute(
        "import_partner",
        "main import partner",
        "Economy > Imports - partners",
        ("Where do most imports of {c} come from?", "Who sells most to {c}?"),
        "The main import partner of {c} is {v}.",
        "Most imports of {c} come from {v}.",
        "Its main import partner is {v}.",
    ),
    _attribute(
        "colors",
        "",
        "Government > National color(s)",
        ("What are the national colors of {c}?", "Which colors stand for {c}?", "What are {c}'s national colors?"),
        "The national colors of {c} are {v}.",
        "{c} has the national colors {v}.",
        "Its national colors are {v}.",
    ),
    _attribute(
        "symbol",
        "national symbol",
        "Government > National symbol(s)",
        ("Which symbol stands for {c}?",),
        "The national symbol of {c} is the {v}.",
        "{c} has the {v} as its national symbol.",
        "Its symbol is the {v}.",
    ),
    _attribute(
        "airports",
        "number of airports",
        "Transportation > Airports",
        ("How many airports does {c} have?", "How many airports are there in {c}?"),
        "The number of airports in {c} is {v}.",
        "There are {v} airports in {c}.",
        "It has {v} airports.",
    ),
    _attribute(
        "independence",
        "date of independence",
        "Government > Independence",
        ("When did {c} become independent?", "Since when is {c} independent?"),
        "The date of independence of {c} is {v}.",
        "{c} became independent on {v}.",
        "It became independent on {v}.",
    ),
    _attribute(
        "military_spending",
        "military spending",
        tuple(
            f"Military and Security > Military expenditures > Military Expenditures {y}" for y in range(2025, 2018, -1)
        ),
        ("How much does {c} spend on its military?", "What share of its economy does {c} spend on defense?"),
        "The military spending of {c} is {v}.",
        "{c} spends {v} on its military.",
        "Its military spending is {v}.",
    ),
    _attribute(
        "military_personnel",
        "size of the armed forces",
        "Military and Security > Military and security service personnel strengths",
        ("How many soldiers does {c} have?", "How large is the army of {c}?"),
        "The armed forces of {c} have {v} members.",
        "{c} has {v} soldiers.",
        "Its armed forces have {v} members.",
    ),
    _attribute(
        "military_age",
        "military service age",
        "Military and Security > Military service age and obligation",
        ("At what age do people in {c} serve in the military?", "How old are recruits in {c}?"),
        "The military service age in {c} is {v}.",
        "Recruits in {c} are {v} old.",
        "Its military service age is {v}.",
    ),
)

BY_KEY = {attribute.key: attribute for attribute in ATTRIBUTES}
