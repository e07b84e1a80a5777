"""Every value that the card stores (enum card_value in card/state.h) has a row in card/nvm_names.c, which
says what it is called and whether a tool may show it."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def stored(state):
    body = re.search(r"enum card_value \{(.*?)\};", state, re.S).group(1)
    return re.findall(r"\b(NVM_\w+)\s*=", re.sub(r"/\*.*?\*/", "", body, flags=re.S))


def rows(names):
    """{enumerator: whether it shows anything}"""
    return {name: shows != "NOTHING"
            for name, shows in re.findall(r"\{(NVM_\w+),[^{}]*?NVM_SHOWS_(\w+)\}", names, re.S)}


def sources():
    return ((ROOT / "card" / "state.h").read_text(encoding="utf-8"),
            (ROOT / "card" / "nvm_names.c").read_text(encoding="utf-8"))


def test_every_value_has_a_row():
    state, names = sources()
    assert len(stored(state)) >= 9
    assert sorted(rows(names)) == sorted(stored(state))


def test_a_value_without_a_row_is_noticed():
    state, names = sources()
    more = state.replace("enum card_value {", "enum card_value {\n    NVM_NEW = 7, /* NVM_OLD = 8 */")
    assert set(stored(more)) - set(rows(names)) == {"NVM_NEW"}


def test_keys_and_pins_show_nothing():
    shown = rows(sources()[1])
    for name, shows in shown.items():
        if re.search("PSA|KEY|ADMIN|SESSION", name) or name == "NVM_PIN":
            assert not shows, name
    assert shown["NVM_LIFE"] and not shown["NVM_PSA"]
