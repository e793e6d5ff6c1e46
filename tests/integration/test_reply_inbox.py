"""Answers to many questions on one subscription: each reaches its own question, also late and across reconnects."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from studyroom.shared.chassis.metrics import BusMetrics
from studyroom.shared.chassis.nats.bus import Bus, BusUnavailable, Message, SubscriptionRefused
from studyroom.shared.chassis.nats.reply_inbox import ReplyInbox
from studyroom.shared.chassis.settings import NatsSettings
from tests.integration.conftest import Connect
from tests.support.configured import Configured
from tests.support.waiting import eventually

QUESTION = "question"

Answers = list[bytes]


def collect(answers: Answers, message: Message) -> None:
    answers.append(message.data)


async def answer_everything(bus: Bus) -> None:
    await bus.subscribe(QUESTION, lambda message: bus.publish(message.reply, message.data))


async def test_each_answer_reaches_its_question_on_one_subscription(connect: Connect):
    asking, answering = await connect(), await connect()
    await answer_everything(answering)
    inbox = ReplyInbox[Answers](collect)
    await asking.open_inbox(inbox)
    questions: list[Answers] = [[] for _ in range(300)]
    for number, answers in enumerate(questions):
        asking.publish(QUESTION, str(number).encode(), reply=inbox.expect(answers))
    await eventually(lambda: all(questions), "all questions are answered")

    assert questions == [[str(number).encode()] for number in range(300)]
    assert asking.subscriptions == 1


async def test_a_question_takes_answers_until_it_is_closed_and_later_answers_are_late(connect: Connect):
    bus, late = await connect(), Answers()
    inbox = ReplyInbox[Answers](collect, late=lambda message: late.append(message.data))
    await bus.open_inbox(inbox)
    answers = Answers()
    reply = inbox.expect(answers)
    bus.publish(reply, b"1")
    bus.publish(reply, b"2")
    await eventually(lambda: len(answers) == 2, "both answers arrive")

    assert inbox.close(reply) is answers
    assert inbox.close(reply) is None
    bus.publish(reply, b"3")
    await eventually(lambda: late == [b"3"], "the late answer arrives")
    assert answers == [b"1", b"2"]


async def test_late_answers_that_nobody_wants_are_ignored(connect: Connect):
    bus, answers = await connect(), Answers()
    inbox = ReplyInbox[Answers](collect)
    await bus.open_inbox(inbox)
    closed, waiting = inbox.expect([]), inbox.expect(answers)
    inbox.close(closed)
    bus.publish(closed, b"late")
    bus.publish(waiting, b"in time")

    await eventually(lambda: answers == [b"in time"], "the next answer arrives")


async def test_inboxes_do_not_share_their_subjects(connect: Connect):
    bus = await connect()
    one, other = ReplyInbox[Answers](collect), ReplyInbox[Answers](collect)
    await bus.open_inbox(one)
    await bus.open_inbox(other)

    assert one.expect([]) != other.expect([])


async def test_questions_wait_in_the_order_in_which_they_were_asked(bus: Bus):
    inbox = ReplyInbox[str](lambda _question, _message: None)
    await bus.open_inbox(inbox)
    replies = [inbox.expect(name) for name in ("first", "second", "third")]
    inbox.close(replies[1])

    assert list(inbox.waiting.values()) == ["first", "third"]


@pytest.fixture
async def limited(configured: Configured) -> AsyncIterator[Bus]:
    """A connection of the user `a`, to a server that the test begins."""
    bus = Bus(
        NatsSettings(
            url=(configured.server.url,),
            user="a",
            password="b",
            ping_interval_seconds=0.2,
            reconnect_max_wait_seconds=0.3,
        ),
        BusMetrics(CollectorRegistry()),
        name="test",
    )
    yield bus
    await bus.close()


def users(*allowed: str) -> str:
    subjects = ", ".join(f'"{subject}"' for subject in allowed)
    return f"authorization {{ users: [{{ user: a, password: b, permissions: {{ subscribe: [{subjects}] }} }}] }}"


def reconnect_of(bus: Bus) -> asyncio.Event:
    """Set when the bus has lost its connection and is connected again."""
    reconnected = asyncio.Event()

    async def on_reconnected() -> None:
        reconnected.set()

    bus.on_reconnected(on_reconnected)
    return reconnected


async def test_a_question_that_was_asked_before_a_reconnect_is_answered_after_it(configured: Configured, limited: Bus):
    configured.begin(users("_INBOX.test.>"))
    await limited.connect()
    inbox, answers = ReplyInbox[Answers](collect), Answers()
    await limited.open_inbox(inbox)
    reply, reconnected = inbox.expect(answers), reconnect_of(limited)
    configured.restart(users("_INBOX.test.>"))
    await asyncio.wait_for(reconnected.wait(), 20)
    limited.publish(reply, b"after")

    await eventually(lambda: answers == [b"after"], "the answer arrives")


async def test_an_inbox_that_nats_refuses_is_not_opened(configured: Configured, limited: Bus):
    configured.begin(users("_INBOX.other.>"))
    await limited.connect()

    with pytest.raises(SubscriptionRefused):
        await limited.open_inbox(ReplyInbox[Answers](collect))
    assert limited.subscriptions == 0


async def test_an_inbox_that_nats_withdraws_is_a_problem_until_it_is_back(configured: Configured, limited: Bus):
    configured.begin(users("_INBOX.test.>"))
    await limited.connect()
    inbox, answers = ReplyInbox[Answers](collect), Answers()
    await limited.open_inbox(inbox)
    configured.reload(users("_INBOX.other.>"))
    await eventually(lambda: limited.problems, "the bus reports the withdrawal")
    assert "permissions violation" in limited.problems[0]

    # The bus connects again on purpose then, because answers may have been lost.
    back = reconnect_of(limited)
    configured.reload(users("_INBOX.test.>"))
    await asyncio.wait_for(back.wait(), 20)
    assert not limited.problems
    limited.publish(inbox.expect(answers), b"again")
    await eventually(lambda: answers == [b"again"], "answers arrive again")


async def test_requests_share_one_subscription_though_all_are_the_first(connect: Connect):
    asking, answering = await connect(), await connect()
    await answer_everything(answering)
    assert asking.subscriptions == 0
    answers = await asyncio.gather(
        *(asking.request(QUESTION, str(number).encode(), timeout_seconds=5) for number in range(100))
    )

    assert [answer.data for answer in answers] == [str(number).encode() for number in range(100)]
    assert asking.subscriptions == 1


async def test_the_first_of_several_answers_is_the_answer_of_a_request(connect: Connect):
    asking, answering = await connect(), await connect()
    for _ in range(3):
        await answer_everything(answering)

    assert (await asking.request(QUESTION, b"1", timeout_seconds=5)).data == b"1"
    assert (await asking.request(QUESTION, b"2", timeout_seconds=5)).data == b"2"


async def test_a_request_that_ends_without_an_answer_leaves_nothing_behind(connect: Connect):
    asking, silent = await connect(), await connect()
    await silent.subscribe(QUESTION, lambda _: None)
    with pytest.raises(BusUnavailable, match="no answer in time"):
        await asking.request(QUESTION, b"", timeout_seconds=0.1)
    with pytest.raises(BusUnavailable, match="no subscriber"):
        await asking.request("nobody.listens", b"", timeout_seconds=5)
    cancelled = asyncio.create_task(asking.request(QUESTION, b"", timeout_seconds=5))
    await eventually(lambda: asking._replies.waiting, "the request is under way")
    cancelled.cancel()
    await asyncio.wait([cancelled])

    assert cancelled.cancelled()
    assert not asking._replies.waiting
