"""Many members of one room, who sit, raise hands, write and react."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

from tests.support.client import Client

NAMES = [
    "Grace Hopper", "🐢 Edsger", "Barbara Liskov", "🦉 Alan", "Margaret H.",
    "Konstantin-Alexander Freiherr von Hohenstein", "דוד", "🦊 Sophie", "Emmy Noether",
    "Hedy", "李小龍", "Katherine Johnson",
]  # fmt: skip
PLACES = {"focus": (0.25, 0.3), "together": (0.75, 0.3), "question": (0.25, 0.8), "break": (0.75, 0.8)}
TEXTS = [
    "Morning!", "Who is in for two rounds of focus before the seminar?",
    "Stuck on exercise 2: why does `x < 1` hold when the list is empty?", "Chapter 4.",
]  # fmt: skip


@asynccontextmanager
async def crowd(gateways: Sequence[str], room: str, count: int) -> AsyncIterator[list[Client]]:
    """Many sit in deep focus, and each fifth has a hand up. All have written, and have reacted to the first text."""
    async with AsyncExitStack() as stack:
        people: list[Client] = []
        for number in range(count):
            name = NAMES[number % len(NAMES)] + (f" {number // len(NAMES) + 1}" if number >= len(NAMES) else "")
            person = await Client.connect(gateways[number % len(gateways)], username=quote(name))
            stack.push_async_callback(person.close)
            await person.join(room)
            people.append(person)
        await people[0].chat(TEXTS[1])
        for person in people:
            first = await person.expect("Chat")
        for number, person in enumerate(people):
            x, y = PLACES[place := "focus" if number % 3 == 0 else list(PLACES)[number % 4]]
            await person.send("CursorMove", {"x": x + 0.01 * (number % 9), "y": y, "element_id": place})
            if number % 5 == 0:
                await person.send("UpdatePresence", {"fields": {"hand": number + 1, "status": "Lemma 3, back at ten"}})
            if number > 0:
                await person.chat(TEXTS[number % len(TEXTS)])
            reaction = {"reaction": "👍" if number % 2 else "🎉", "is_on": True}
            await person.send("ReactToChat", {"target_id": first["id"], "target_seq": first["seq"], **reaction})
        yield people
