"""The grammar of mini-E2E: what can be said about a restaurant, and every way in which it can be said.

A sentence follows a plan, which is made of parts: each fact goes to a part that has phrases for it, and is
written with one of those phrases. The same tables write sentences (mini_e2e.py) and read them
(mini_e2e_parser.py).
"""

from typing import TypeAlias

SLOTS = {
    "name": (
        "Amber Fig",
        "Blue Heron",
        "Copper Pot",
        "Driftwood",
        "Ember Hall",
        "Fern Table",
        "Grey Otter",
        "Hollow Oak",
        "Iron Ladle",
        "Juniper Row",
        "Kite House",
        "Lemon Door",
        "Marble Hare",
        "Nine Bells",
        "Old Saffron",
        "Paper Moon",
        "Quince Lane",
        "Red Thistle",
        "Silver Eel",
        "Tin Lantern",
        "Umber Cup",
        "Velvet Plum",
        "Willow Jar",
        "Yellow Wren",
    ),
    "type": ("cafe", "bistro", "tavern", "diner", "tea room"),
    "food": ("Greek", "Thai", "Mexican", "Turkish", "Korean", "Spanish", "Moroccan", "Peruvian"),
    "price": ("low", "medium", "high"),
    "area": ("harbour", "old town", "market", "park", "station"),
    "family": ("yes", "no"),
    "rating": ("poor", "average", "good", "superb"),
}

REQUIRED = ("name", "type")  # the other slots are facts: at least one of them is given
FACTS = tuple(slot for slot in SLOTS if slot not in REQUIRED)

# Each table: slot -> value -> phrases. No phrase stands for two values.
Phrases: TypeAlias = dict[str, dict[str, tuple[str, ...]]]  # of each slot and value

ADJECTIVES: Phrases = {
    "food": {food: (food,) for food in SLOTS["food"]},
    "price": {
        "low": ("cheap", "inexpensive", "low-cost"),
        "medium": ("mid-priced", "fairly priced"),
        "high": ("expensive", "pricey", "upmarket"),
    },
    "family": {
        "yes": ("family-friendly", "child-friendly"),
        "no": ("adults-only", "child-free"),
    },
    "rating": {
        "poor": ("poorly rated", "badly reviewed"),
        "average": ("average", "middling"),
        "good": ("well-rated", "popular"),
        "superb": ("top-rated", "superb", "outstanding"),
    },
}
PLACES: Phrases = {
    "area": {
        "harbour": ("by the harbour", "on the waterfront"),
        "old town": ("in the old town", "in the old quarter"),
        "market": ("near the market", "on the market square"),
        "park": ("next to the park", "beside the park"),
        "station": ("near the station", "opposite the station"),
    },
}
QUALITIES: Phrases = {
    "food": {food: (f"serving {food} food", f"with {food} dishes") for food in SLOTS["food"]},
    "price": {
        "low": ("with low prices", "with a cheap menu"),
        "medium": ("with fair prices", "with a fairly priced menu"),
        "high": ("with high prices", "with a pricey menu"),
    },
    "family": {
        "yes": ("for the whole family", "for all ages"),
        "no": ("for adults only", "without children"),
    },
    "rating": {rating: (f"with {rating} reviews", f"of {rating} repute") for rating in SLOTS["rating"]},
}
CLAUSES: Phrases = {
    "food": {
        food: (f"serves {food} food", f"cooks {food} dishes", f"offers {food} cuisine", f"has {food} food")
        for food in SLOTS["food"]
    },
    "price": {
        "low": ("is cheap", "charges little", "has low prices", "costs little"),
        "medium": ("is fairly priced", "has fair prices", "charges a fair price"),
        "high": ("is expensive", "charges a lot", "has high prices", "costs a lot"),
    },
    "area": {
        area: tuple(f"{verb} {place}" for verb in ("is", "lies", "stands") for place in places)
        for area, places in PLACES["area"].items()
    },
    "family": {
        "yes": ("welcomes children", "suits families", "is good for families"),
        "no": ("admits no children", "is for adults only", "is no place for children"),
    },
    "rating": {
        rating: (f"has {rating} reviews", f"gets {rating} ratings", f"is rated {rating}") for rating in SLOTS["rating"]
    },
}

# The phrases for each part of a plan, and how many facts it can hold.
PART_PHRASES: dict[str, Phrases] = {
    "front": PLACES,
    "adjectives": ADJECTIVES,
    "ending": PLACES | QUALITIES,
    "clauses": CLAUSES,
}
PART_ROOM = {"front": 1, "adjectives": 2, "ending": 1, "clauses": 3}

# `also` or `clauses` holds the first sentence's clauses; `rest`, its full stop and a second sentence with the
# others; `name` and `type`, their values. Any other word stands for itself.
PLANS = (
    "front name is a adjectives type ending also rest",
    "front there is a adjectives type ending called name rest",
    "name , a adjectives type ending , clauses rest",
    "a adjectives type ending , name clauses rest",
)
CONNECTIVES = ("is", "a", "there", "called", "and", "it", ",", ".")


def write(tokens: list[str]) -> str:
    """Phrases and connectives as text: spaces between, a capital first, and "an" before a vowel."""
    words: list[str] = []
    for token, following in zip(tokens, tokens[1:] + [""], strict=True):
        if token == "a" and following.lower().startswith(tuple("aeiou")):
            token = "an"
        starts_sentence = not words or words[-1] == "."
        words.append(token[0].upper() + token[1:] if starts_sentence else token)
    return " ".join(words).replace(" ,", ",").replace(" .", ".")
