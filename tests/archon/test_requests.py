"""How components ask, ask again, and ask side by side."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_batch.archon import (
    ComponentWarning,
    Message,
    Reply,
    ReplyFormat,
    ReplyParseError,
    Request,
    Requests,
    ask_parsed,
    ask_text,
    gather,
)

SYSTEM, TASK = Message("system", "You count."), Message("user", "How many?")
REQUEST = Request(7, (SYSTEM, TASK), ReplyFormat("root ::= [0-9]+", "4"), sample=2)


def driven(steps, *replies):
    """The rounds and the result; None if the replies do not suffice."""
    left = iter(replies)
    rounds = []
    try:
        requests = next(steps)
        while True:
            rounds.append(requests)
            settled = []
            for _ in requests:
                reply = next(left, None)
                if reply is None:
                    return rounds, None
                settled.append(reply if isinstance(reply, Reply) else Reply(reply))
            requests = steps.send(tuple(settled))
    except StopIteration as end:
        assert next(left, None) is None, "more replies than were asked for"
        return rounds, end.value


def number(text):
    if not text.isdigit():
        raise ReplyParseError(f"{text!r} is no number")
    return int(text)


def told(rounds, turn):
    """The text of the last message of a round after the task."""
    ((request,),) = rounds[turn : turn + 1]
    assert request.messages[:-1] == (SYSTEM,)
    assert request.messages[-1].role == "user"
    assert request.messages[-1].content.startswith(TASK.content)
    return request.messages[-1].content.removeprefix(TASK.content)


def test_the_first_request_is_sent_unchanged():
    rounds, _ = driven(ask_parsed(REQUEST, number, 2))

    assert rounds == [(REQUEST,)]


def test_a_parsed_reply_ends_the_requests():
    rounds, reading = driven(ask_parsed(REQUEST, number, 2), " 12\n")

    assert (len(rounds), reading) == (1, (12, ()))


def test_a_rejected_reply_is_asked_again_with_the_reason():
    rounds, reading = driven(ask_parsed(REQUEST, number, 2), "many", "12")

    assert told(rounds, 1) == (
        "\n\nAn earlier reply to this could not be used: 'many' is no number. "
        "Keep to the form that is asked for above."
    )
    ((again,),) = rounds[1:]
    assert (again.index, again.sample, again.reply_format, again.reask) == (
        7,
        2,
        REQUEST.reply_format,
        1,
    )
    assert reading == (12, (ComponentWarning("unparsed", "'many' is no number"),))


def test_a_reask_has_the_last_reason_and_the_number_of_rejected_replies():
    rounds, _ = driven(ask_parsed(REQUEST, number, 2), "many", "few")

    assert "2 earlier replies to this could not be used: 'few' is no number." in told(rounds, 2)
    assert "many" not in told(rounds, 2)
    assert rounds[2][0].reask == 2


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_request_is_repeated_up_to_retries_times(retries):
    rounds, reading = driven(ask_parsed(REQUEST, number, retries), *["many"] * (1 + retries))

    assert [requests[0].reask for requests in rounds] == list(range(1 + retries))
    assert reading == (None, (ComponentWarning("unparsed", "'many' is no number"),) * (1 + retries))


@pytest.mark.parametrize("blank", ["", " \n", None])
def test_a_blank_reply_is_rejected_before_the_parser_sees_it(blank):
    def parse(text):
        pytest.fail(f"it was given {text!r}")

    _, reading = driven(ask_parsed(REQUEST, parse, 0), Reply(blank))

    assert reading == (None, (ComponentWarning("unparsed", "the reply was empty"),))


def test_the_reason_says_that_a_reply_was_truncated():
    rounds, _ = driven(ask_parsed(REQUEST, number, 1), Reply("mo", finish_reason="length"))

    assert "'mo' is no number; it was cut off at its greatest length." in told(rounds, 1)


def test_the_reason_says_that_a_filter_truncated_a_reply():
    rounds, _ = driven(ask_parsed(REQUEST, number, 1), Reply("mo", finish_reason="content_filter"))

    assert "'mo' is no number; the provider's filter cut it off." in told(rounds, 1)


def test_a_truncated_reply_that_can_be_parsed_is_accepted():
    _, reading = driven(ask_parsed(REQUEST, number, 1), Reply("12", finish_reason="length"))

    assert reading == (12, ())


def test_a_failed_call_is_not_asked_again():
    rounds, reading = driven(
        ask_parsed(REQUEST, number, 3), "many", Reply(None, failure="refused: no")
    )

    assert len(rounds) == 2
    assert reading == (
        None,
        (
            ComponentWarning("unparsed", "'many' is no number"),
            ComponentWarning("failed", "refused: no"),
        ),
    )


@given(why=st.text(max_size=2000))
def test_a_reason_never_exceeds_the_reask_overhead(why):
    def parse(_text):
        raise ReplyParseError(why)

    rounds, reading = driven(
        ask_parsed(REQUEST, parse, 10), *[Reply("x", finish_reason="length")] * 11
    )

    # The forecast adds 400, less than the reask overhead.
    assert all(len(told(rounds, turn).encode()) <= 400 for turn in range(1, 11))
    assert reading[1][0].why.startswith(why)


def test_lone_surrogates_in_a_reason_are_replaced():
    def parse(_text):
        raise ReplyParseError("key \ud800 is unknown")

    rounds, _ = driven(ask_parsed(REQUEST, parse, 1), "x")

    assert "key ? is unknown" in told(rounds, 1)


def test_a_text_is_accepted_without_the_space_around_it():
    rounds, reading = driven(ask_text(REQUEST, 2), "\n two\n words \n")

    assert rounds == [(REQUEST,)]
    assert reading == ("two\n words", ())


def test_a_blank_text_is_asked_again_with_the_same_prompt():
    rounds, reading = driven(ask_text(REQUEST, 2), "", Reply(None), "two")

    assert [requests[0].messages for requests in rounds] == [REQUEST.messages] * 3
    assert [requests[0].reask for requests in rounds] == [0, 1, 2]
    assert reading == ("two", (ComponentWarning("unparsed", "the reply was empty"),) * 2)


def test_a_text_is_asked_for_up_to_retries_times():
    rounds, reading = driven(ask_text(REQUEST, 1), "", " ")

    assert len(rounds) == 2
    assert reading == (None, (ComponentWarning("unparsed", "the reply was empty"),) * 2)


def test_a_truncated_text_is_accepted_with_a_warning():
    _, reading = driven(ask_text(REQUEST, 2), Reply("and so", finish_reason="length"))

    assert reading == (
        "and so",
        (ComponentWarning("truncated", "a text is truncated at max_tokens"),),
    )


def test_a_text_truncated_by_a_filter_is_accepted_with_a_warning():
    _, reading = driven(ask_text(REQUEST, 2), Reply("and so", finish_reason="content_filter"))

    why = "a text is truncated by the provider's filter (content_filter)"
    assert reading == ("and so", (ComponentWarning("truncated", why),))


def test_a_model_that_used_all_tokens_for_reasoning_is_not_asked_again():
    rounds, reading = driven(ask_text(REQUEST, 2), Reply("", finish_reason="length"))

    assert len(rounds) == 1
    assert reading == (
        None,
        (ComponentWarning("unparsed", "the model used all of max_tokens for reasoning"),),
    )


def test_a_text_whose_call_failed_is_not_asked_again():
    rounds, reading = driven(ask_text(REQUEST, 2), "", Reply(None, failure="no quota"))

    assert len(rounds) == 2
    assert reading == (
        None,
        (
            ComponentWarning("unparsed", "the reply was empty"),
            ComponentWarning("failed", "no quota"),
        ),
    )


def part(name: int, rounds: Sequence[int]) -> Requests[list[str | None]]:
    """Makes so many requests per round, and returns all replies."""
    heard: list[str | None] = []
    slot = 100 * name
    for size in rounds:
        requests = tuple(Request(slot + n, (TASK,)) for n in range(size))
        slot += size
        heard += [reply.text for reply in (yield requests)]
    return heard


PARTS = st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=5)


def echoed(steps):
    """Reply to every request with its own index."""
    rounds = []
    try:
        requests = next(steps)
        while True:
            rounds.append([request.index for request in requests])
            requests = steps.send(tuple(Reply(str(request.index)) for request in requests))
    except StopIteration as end:
        return rounds, end.value


def test_gather_combines_the_requests_of_a_round():
    rounds, heard = echoed(gather([part(1, [1, 2]), part(2, [2]), part(3, [1, 1, 1])]))

    assert rounds == [[100, 200, 201, 300], [101, 102, 301], [302]]
    assert heard == (["100", "101", "102"], ["200", "201"], ["300", "301", "302"])


@pytest.mark.parametrize("parts", [[], [[]], [[], []]])
def test_gather_makes_no_round_without_requests(parts):
    rounds, heard = echoed(gather([part(n, sizes) for n, sizes in enumerate(parts)]))

    assert rounds == []
    assert heard == tuple([] for _ in parts)


@given(parts=PARTS)
def test_a_generator_gets_the_same_replies_in_gather_as_alone(parts):
    alone = [echoed(part(n, sizes))[1] for n, sizes in enumerate(parts)]

    _, heard = echoed(gather([part(n, sizes) for n, sizes in enumerate(parts)]))

    assert heard == tuple(alone)


@given(parts=PARTS)
def test_a_round_has_the_next_requests_in_the_order_of_the_generators(parts):
    rounds, _ = echoed(gather([part(n, sizes) for n, sizes in enumerate(parts)]))

    apart = [echoed(part(n, sizes))[0] for n, sizes in enumerate(parts)]
    longest = max((len(alone) for alone in apart), default=0)
    assert rounds == [
        [slot for alone in apart for slot in (alone[turn] if turn < len(alone) else [])]
        for turn in range(longest)
    ]


@given(parts=PARTS, more=PARTS)
def test_gather_can_be_nested(parts, more):
    one = [part(n, sizes) for n, sizes in enumerate(parts)]
    other = [part(10 + n, sizes) for n, sizes in enumerate(more)]
    flat = echoed(
        gather(
            [part(n, s) for n, s in enumerate(parts)]
            + [part(10 + n, s) for n, s in enumerate(more)]
        )
    )

    rounds, (heard, also) = echoed(gather([gather(one), gather(other)]))

    assert (rounds, heard + also) == flat


def test_each_generator_parses_and_rejects_its_own_replies():
    requests = [Request(slot, (SYSTEM, TASK)) for slot in range(3)]

    rounds, readings = driven(
        gather([ask_parsed(request, number, 1) for request in requests]),
        "10", "many", "12", "11",
    )  # fmt: skip

    assert [[(r.index, r.reask) for r in requests] for requests in rounds] == [
        [(0, 0), (1, 0), (2, 0)],
        [(1, 1)],
    ]
    assert readings == (
        (10, ()),
        (11, (ComponentWarning("unparsed", "'many' is no number"),)),
        (12, ()),
    )


def test_an_exception_in_one_generator_ends_gather():
    def broken():
        yield (REQUEST,)
        raise LookupError("gone")

    steps = gather([part(1, [1, 1]), broken()])
    next(steps)

    with pytest.raises(LookupError, match="gone"):
        steps.send((Reply("1"), Reply("2")))
