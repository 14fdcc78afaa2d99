import copy

import pytest
import torch

from lazyllm_deploy_transformers.answering import sampling_for
from lazyllm_deploy_transformers.batching.sampler import KEY, Sampler, draw
from lazyllm_deploy_transformers.batching.sampling import Defaults, Sampling
from lazyllm_deploy_transformers.protocol.requests import Params

LOGITS = torch.tensor([0.5, 0.2, 0.2, 0.07, 0.03]).log()


class Request:
    def __init__(self, sampling, has_new_token=True):
        self.has_new_token = has_new_token
        self.state = type("State", (), {"logit_processor_kwargs": {KEY: sampling}})


def step(sampler, scores, *samplings):
    """Return the tokens that the library's argmax finds after one step."""
    sampler.prepare_tensor_args([Request(s) for s in samplings], torch.empty(0))
    return sampler(torch.empty(0), scores.clone(), torch.empty(0)).argmax(-1).tolist()


def shares(sampling, draws=20_000):
    torch.manual_seed(0)
    tokens = draw(LOGITS.expand(draws, 5), [sampling] * draws)
    return [round(float((tokens == i).float().mean()), 2) for i in range(5)]


@pytest.mark.parametrize(
    "sampling, expected",
    [
        (Sampling(temperature=1.0), [0.5, 0.2, 0.2, 0.07, 0.03]),
        (Sampling(temperature=0.5), [0.75, 0.12, 0.12, 0.01, 0.0]),
        (Sampling(temperature=1.0, top_k=1), [1, 0, 0, 0, 0]),
        (Sampling(temperature=1.0, top_k=4), [0.52, 0.21, 0.21, 0.07, 0]),
        (Sampling(temperature=1.0, top_p=0.45), [1, 0, 0, 0, 0]),
        (Sampling(temperature=1.0, top_p=0.85), [0.56, 0.22, 0.22, 0, 0]),
        (Sampling(temperature=1.0, min_p=0.1), [0.52, 0.21, 0.21, 0.07, 0]),
    ],
)
def test_tokens_are_drawn_with_their_probabilities(sampling, expected):
    assert shares(sampling) == pytest.approx(expected, abs=0.015)


def test_rows_keep_their_own_parameters():
    wishes = [Sampling(temperature=1.0, top_k=1), Sampling(temperature=1.0, top_k=3), Sampling(temperature=1.0)]
    seen = [set(), set(), set()]
    for _ in range(300):
        for i, token in enumerate(draw(LOGITS.expand(3, 5), wishes).tolist()):
            seen[i].add(token)
    assert seen[0] == {0} and seen[1] == {0, 1, 2} and seen[2] == {0, 1, 2, 3, 4}


def test_greedy_rows_pass_untouched_and_prefills_have_no_row():
    sampler = Sampler()
    requests = [Request(None, has_new_token=False), Request(Sampling()), Request(None)]
    sampler.prepare_tensor_args(requests, torch.empty(0))
    assert not sampler.do_processing and sampler.tokens == 2
    sampler.prepare_tensor_args([*requests, Request(Sampling(temperature=1.0))], torch.empty(0))
    assert sampler.do_processing


def test_a_seed_repeats_whatever_the_neighbours():
    def run(*others):
        seeded = Sampling(temperature=1.5, seed=5)
        sampler, found = Sampler(), []
        for _ in range(20):
            found.append(step(sampler, LOGITS.expand(1 + len(others), 5), *others, seeded)[-1])
        return found

    assert run() == run(Sampling(temperature=1.0, top_k=2), Sampling()) == run(Sampling(temperature=0.3))
    assert len(set(run())) > 1


def test_penalties_count_what_was_generated():
    sampler, sampling = Sampler(), Sampling(presence_penalty=2.0, frequency_penalty=0.5)
    assert [step(sampler, LOGITS.unsqueeze(0), sampling)[0] for _ in range(3)] == [0, 1, 2]
    repeats = Sampling(repetition_penalty=100.0, seen=frozenset({0}))
    assert step(Sampler(), LOGITS.unsqueeze(0) + 4, repeats) == [1]


def test_biases_move_a_token():
    assert step(Sampler(), LOGITS.unsqueeze(0), Sampling(logit_bias={4: 10.0})) == [4]


def test_log_probabilities_are_the_models_own():
    sampling = Sampling(temperature=2.0, top_k=1, logit_bias={1: 50.0}, logprobs=2)
    assert step(Sampler(), LOGITS.unsqueeze(0), sampling) == [1]
    (record,) = sampling.records
    assert record.logprob == pytest.approx(float(LOGITS[1]), abs=1e-5)
    assert record.top[0] == (0, pytest.approx(float(LOGITS[0]), abs=1e-5)) and len(record.top) == 2


def test_the_librarys_copies_are_the_same_object():
    sampling = Sampling(logprobs=0)
    assert copy.deepcopy({KEY: sampling})[KEY] is sampling


def test_defaults_come_from_the_generation_config():
    assert Defaults.of({}) == Defaults(temperature=0.0)
    chatty = Defaults.of({"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05})
    assert chatty == Defaults(0.7, 0.8, 20, 0.0, 1.05)
    assert Defaults.of({"do_sample": True}).temperature == 1.0

    said_nothing = sampling_for(Params(), chatty, 0, [1])
    assert (said_nothing.temperature, said_nothing.top_k, said_nothing.seen) == (0.7, 20, frozenset({1}))
    assert sampling_for(Params(temperature=0.0), chatty, 0, []).temperature == 0.0
    assert sampling_for(Params(top_p=0.9), Defaults(), 0, []).temperature == 1.0
    assert sampling_for(Params(temperature=1e-45), chatty, 0, []).temperature == 0.0
    assert sampling_for(Params(seed=4), Defaults(), 2, []).seed == 6
