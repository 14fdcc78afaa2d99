"""Tokens, labels and templates: what is trained is what a served model is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lazyllm.errors import DataError, InputError
from lazyllm_finetune_alpacalora.chat import assistant_spans, turn_end
from lazyllm_finetune_alpacalora.encode import IGNORED, Encoder, prefix_ids
from lazyllm_finetune_alpacalora.template import FOLDER, Template, load_template

RECORD = {"instruction": "Name the capital of France.", "output": "Paris"}
INPUT = {"instruction": "Sort.", "input": "b a {instruction}", "output": "a b"}


def encoder(tokenizer: Any, kind: str = "alpaca", **options: Any) -> Encoder:
    limits = {"cutoff_len": 1030, "filter_nums": 1024, "train_on_inputs": False, **options}
    return Encoder(tokenizer, kind, load_template("alpaca"), **limits)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, tokenizer_maker: Any) -> Any:
    return tokenizer_maker(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def bos_tokenizer(tmp_path_factory: pytest.TempPathFactory, tokenizer_maker: Any) -> Any:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("bos")
    tokenizer = tokenizer_maker(folder)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.convert_tokens_to_ids("<|im_start|>"))]
    )
    tokenizer.save_pretrained(str(folder))
    return AutoTokenizer.from_pretrained(str(folder))


def test_the_alpaca_prompt_is_the_known_one() -> None:
    template = load_template("alpaca")
    assert template.prompt(RECORD) == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName the capital of France.\n\n### Response:\n"
    )
    assert "\n\n### Instruction:\nSort.\n\n### Input:\nb a {instruction}\n\n### Response:\n" in template.prompt(INPUT)
    assert set(json.loads((FOLDER / "alpaca.json").read_text())) == {
        *("description", "prompt_input", "prompt_no_input", "response_split")
    }


def test_the_prompt_is_masked_and_the_end_is_learnt(tokenizer: Any) -> None:
    done = encoder(tokenizer).encode([RECORD])
    learnt = [token for token in done.labels[0] if token != IGNORED]
    assert tokenizer.decode(done.input_ids[0]) == load_template("alpaca").prompt(RECORD) + "Paris<|endoftext|>"
    assert tokenizer.decode(learnt) == "Paris<|endoftext|>"
    assert encoder(tokenizer, train_on_inputs=True).encode([RECORD]).labels == done.input_ids


@pytest.mark.parametrize("which", ["tokenizer", "bos_tokenizer"])
def test_the_chat_template_asks_token_for_token_as_trained(which: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(which)
    before = "".join(tokenizer.convert_ids_to_tokens(prefix_ids(tokenizer)))
    assert before == ("<|im_start|>" if which == "bos_tokenizer" else "")
    rendered = load_template("alpaca").chat_template(before)
    for text in ("Name it.", ' "quoted" \\n {{ x }} \n', "héé 🦜 {instruction}"):
        trained = encoder(tokenizer).encode([{"instruction": text, "output": "yes"}]).input_ids[0]
        user = [{"role": "user", "content": text}]
        asked = tokenizer.apply_chat_template(user, chat_template=rendered, add_generation_prompt=True)["input_ids"]
        assert asked == trained[: len(asked)]
        both = [*user, {"role": "assistant", "content": "yes"}]
        assert tokenizer.apply_chat_template(both, chat_template=rendered)["input_ids"] == trained


def test_a_chat_of_several_turns_repeats_the_headings(tokenizer: Any) -> None:
    turns = [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c")]
    text = tokenizer.apply_chat_template(
        [{"role": role, "content": content} for role, content in turns],
        chat_template=load_template("alpaca").chat_template(),
        tokenize=False,
    )
    assert text.startswith("Be brief.\n\nBelow is an instruction")
    assert text.endswith(
        "### Instruction:\na\n\n### Response:\nb<|endoftext|>\n\n### Instruction:\nc\n\n### Response:\n"
    )
    assert text.count("Below is") == 1


def test_long_samples_are_cut_or_left_out(tokenizer: Any) -> None:
    length = len(encoder(tokenizer).encode([RECORD]).input_ids[0])
    cut = encoder(tokenizer, cutoff_len=length - 1, train_on_inputs=True).encode([RECORD])
    assert len(cut.input_ids[0]) == length - 1
    assert cut.input_ids[0][-1] != tokenizer.eos_token_id
    both = [RECORD, {**RECORD, "output": "Paris " * 20}]
    done = encoder(tokenizer, filter_nums=length + 1).encode(both)
    assert (len(done), done.too_long) == (1, 1)
    with pytest.raises(DataError, match=f"None of the 2 records.*filter_nums={length}"):
        encoder(tokenizer, filter_nums=length).encode(both)
    with pytest.raises(DataError, match="2 hold no answer"):
        encoder(tokenizer, cutoff_len=20).encode(both)


def test_in_a_chat_only_the_assistant_is_learnt(tokenizer: Any) -> None:
    turns = [("system", "S"), ("user", "a"), ("assistant", "b b"), ("user", "b b"), ("assistant", "d")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    done = encoder(tokenizer, "messages").encode([record])
    learnt = tokenizer.decode([token for token in done.labels[0] if token != IGNORED])
    assert learnt == "b b<|im_end|>\nd<|im_end|>\n<|endoftext|>"
    assert turn_end(tokenizer) == "<|im_end|>\n"


ASKS = load_template("alpaca").chat_template()


@pytest.mark.parametrize("template", [None, ASKS])
@pytest.mark.parametrize("on_inputs", [False, True])
def test_nothing_is_learnt_from_turns_without_an_answer(
    template: str | None, on_inputs: bool, tmp_path: Path, tokenizer_maker: Any
) -> None:
    tokenizer = tokenizer_maker(tmp_path)
    tokenizer.chat_template = template or tokenizer.chat_template
    turns = [("user", "q"), ("assistant", "a"), ("tool", "t"), ("user", "thanks")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    done = encoder(tokenizer, "messages", train_on_inputs=on_inputs).encode([record])
    short = encoder(tokenizer, "messages", train_on_inputs=on_inputs).encode([{"messages": record["messages"][:2]}])
    assert (done.input_ids, done.labels) == (short.input_ids, short.labels)
    assert (done.unanswered, short.unanswered) == (1, 0)
    assert len(record["messages"]) == 4
    if not on_inputs:
        learnt = tokenizer.decode([token for token in done.labels[0] if token != IGNORED])
        assert learnt == ("a<|endoftext|>" if template else "a<|im_end|>\n<|endoftext|>")


REWRITES = (  # like templates that show a thought only in the last turn, and strip the answer
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}"
    "{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_template_that_rewrites_earlier_turns_is_understood(tmp_path: Path, tokenizer_maker: Any) -> None:
    tokenizer = tokenizer_maker(tmp_path, REWRITES)
    turns = [("user", "a"), ("assistant", " b "), ("user", "c"), ("assistant", "d")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    text, spans = assistant_spans(tokenizer, record)
    assert [text[start:end] for start, end in spans] == ["b<|im_end|>\n", "<think></think>d<|im_end|>\n"]


def test_the_whole_text_is_trained_wherever_the_answer_stands(tmp_path: Path, tokenizer_maker: Any) -> None:
    tokenizer = tokenizer_maker(
        tmp_path, "{{ messages | length }}{% for m in messages %}{{ m.content | lower }}{% endfor %}"
    )
    record = {"messages": [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]}
    with pytest.raises(DataError, match="message 2 is not found in(.|\n)*train_on_inputs=True"):
        encoder(tokenizer, "messages").encode([record])
    done = encoder(tokenizer, "messages", train_on_inputs=True).encode([record])
    assert tokenizer.decode(done.labels[0]) == "2ab<|endoftext|>"


def test_a_template_that_refuses_the_messages_is_named(tmp_path: Path, tokenizer_maker: Any) -> None:
    tokenizer = tokenizer_maker(tmp_path, "{{ raise_exception('no system turns') }}")
    with pytest.raises(DataError, match="no system turns"):
        encoder(tokenizer, "messages").encode([{"messages": [{"role": "assistant", "content": "x"}]}])


def test_a_template_that_does_not_parse_is_named(tmp_path: Path, tokenizer_maker: Any) -> None:
    with pytest.raises(DataError, match="chat template does not take these messages"):
        turn_end(tokenizer_maker(tmp_path, "{% for"))


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"prompt_input": "{input}|{instruction}=", "prompt_no_input": "{instruction}="}))
    assert load_template(str(file)).name == str(file)
    assert load_template(str(file)).prompt(INPUT) == "b a {instruction}|Sort.="
    file.write_text(json.dumps({"prompt_input": "{input}", "prompt_no_input": "x"}))
    with pytest.raises(InputError, match=r"'prompt_input'.*\{instruction\} and \{input\}"):
        load_template(str(file))
    with pytest.raises(InputError, match="Did you mean 'alpaca'"):
        load_template("alpacca")


def test_a_template_without_headings_still_asks() -> None:
    import jinja2

    template = Template("t", "{instruction}{input}", "Q: {instruction} A:")
    messages = [{"role": "user", "content": "x"}]
    assert jinja2.Template(template.chat_template()).render(messages=messages, eos_token="E") == "Q: x A:"
