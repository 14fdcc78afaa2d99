import asyncio
from types import SimpleNamespace

from lazyllm_deploy_transformers.batching.engine import Generation
from lazyllm_deploy_transformers.batching.router import Router


def output(id, tokens, done=False):
    return SimpleNamespace(request_id=id, generated_tokens=tokens, error=None, is_finished=lambda: done)


def test_steps_that_the_loop_was_too_busy_to_read_come_in_one_call():
    calls, seen = [], []

    async def main():
        loop = asyncio.get_running_loop()
        call = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda f, *a: (calls.append(f), call(f, *a))
        router = Router(loop, lambda *a: seen.append(a))
        for n in (1, 2, 3):
            router.deliver_batch([output("a", list(range(n))), output("b", [n], n == 3)])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        router.deliver(output("a", [0, 1, 2, 3], True))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert len(calls) == 2
    assert [s[0] for s in seen] == ["a", "b", "a", "b", "a", "b", "a"]
    assert seen[-1] == ("a", [0, 1, 2, 3], True, None)


def test_a_reader_gets_all_tokens_once_however_late_it_comes():
    async def main():
        generation = Generation("a")
        generation.deliver([1], False, None)
        generation.deliver([1, 2], False, None)
        assert await generation.more() == [1, 2]
        waiting = asyncio.ensure_future(generation.more())
        await asyncio.sleep(0)
        generation.deliver([1, 2, 3], True, None)
        assert await waiting == [3] and generation.done and await generation.more() == []

    asyncio.run(main())
