"""Prompt templates of alpaca records, and the Jinja chat template that asks a served model in the same words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lazyllm.components.paths import as_path
from lazyllm.errors import InputError, near

FOLDER = Path(__file__).parent / "templates"
CHAT = FOLDER / "chat.jinja"
"""Renders a chat from four texts: before, intro, heading, tail."""


@dataclass(frozen=True, slots=True)
class Template:
    """A template file's fields; `prompt_input` and `prompt_no_input` hold the places {instruction} and {input}."""

    name: str
    prompt_input: str
    prompt_no_input: str
    response_split: str = ""

    def prompt(self, record: Mapping[str, Any]) -> str:
        """Return the text that asks; the record's output follows it directly."""
        if record.get("input"):
            return _fill(self.prompt_input, instruction=record["instruction"], input=record["input"])
        return _fill(self.prompt_no_input, instruction=record["instruction"])

    def chat_template(self, before: str = "") -> str:
        """Return Jinja that renders one user message as `prompt_no_input` does.

        `before` is what the tokenizer puts before every text (`<s>`, or nothing): engines tokenize a rendered chat
        without it. A system message stands before the prompt, further turns repeat its last heading, and
        an assistant's turn ends in the end-of-sequence token, as in training.
        """
        head, tail = self.prompt_no_input.split("{instruction}", 1)
        cut = head.rfind("\n\n") + 2 if "\n\n" in head else 0
        texts = {"before": before, "intro": head[:cut], "heading": head[cut:], "tail": tail}
        named = "".join(f"{{%- set {k} = {json.dumps(v, ensure_ascii=False)} -%}}\n" for k, v in texts.items())
        return named + CHAT.read_text(encoding="utf-8")


def _fill(template: str, **values: str) -> str:
    # not str.format: a template may hold other braces, and a value may hold "{input}"
    parts = []
    rest = template
    while rest:
        places = [(rest.find("{" + key + "}"), key) for key in values]
        at, key = min((p for p in places if p[0] >= 0), default=(-1, ""))
        if at < 0:
            break
        parts += [rest[:at], values[key]]
        rest = rest[at + len(key) + 2 :]
    return "".join([*parts, rest])


def template_file(name: str) -> Path:
    """Return the absolute path of a packaged template's file, or of one's own; an InputError if it is neither."""
    known = {file.stem: file for file in FOLDER.glob("*.json")}
    if name in known:
        return known[name]
    if name and (file := as_path(name, "prompt_template_name")).is_file():
        return file.absolute()
    raise InputError(
        f"prompt_template_name={name!r} is neither a packaged template nor a file. {near(name, known)}",
        hint="A template is a JSON file with prompt_input, prompt_no_input and response_split.",
    )


def load_template(name: str) -> Template:
    """Load a packaged template by name, or one's own by the path of its JSON file, which becomes its name."""
    file = template_file(name)
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"The prompt template {file} is not valid JSON: {error}.") from None
    for key, places in (("prompt_input", ("{instruction}", "{input}")), ("prompt_no_input", ("{instruction}",))):
        text = fields.get(key) if isinstance(fields, dict) else None
        if not isinstance(text, str) or any(place not in text for place in places):
            raise InputError(f"The prompt template {file} needs {key!r}, a text with {' and '.join(places)} in it.")
    name = file.stem if file.parent == FOLDER else str(file)
    return Template(name, fields["prompt_input"], fields["prompt_no_input"], str(fields.get("response_split", "")))
