"""The client. It passes calls and messages of the server to the pure parts in `core`, and their results on."""

import asyncio
import math
import random
import ssl
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from studyroom.client.address import socket_address
from studyroom.client.archive import Archive
from studyroom.client.connection import CLOSE_CALLED, Address, Callbacks, Connection, Ended
from studyroom.client.core.backoff import Backoff
from studyroom.client.core.liveness import Heartbeat
from studyroom.client.core.parts import (
    checked_text,
    deletion_of,
    edit_of,
    event_of,
    fields_of,
    position_of,
    reaction_of,
    user_ids_of,
)
from studyroom.client.core.roster import member_of
from studyroom.client.core.session import LEFT, Session
from studyroom.client.core.wire import Refusal
from studyroom.client.errors import StudyroomError
from studyroom.client.events import Disconnected
from studyroom.client.identity import Identity, Token
from studyroom.client.outcomes import Outcomes
from studyroom.client.renewal import Renewal
from studyroom.client.shown import Shown
from studyroom.client.subscription import Subscription
from studyroom.client.values import (
    ChatMessage,
    ConnectionState,
    ConnectionStatus,
    Failure,
    Member,
    RoomState,
)
from studyroom.shared.contract.chat_messages import ChangeOfChat
from studyroom.shared.contract.ids import canonical_uuid, new_message_id
from studyroom.shared.contract.messages import ClientMessage, ServerMessage, WelcomePayload

_NO_ROOM = Failure("not_in_room", "no room is wanted: join one first")


class Client(Shown):
    """One user in at most one room, over a connection that is opened again whenever it is lost.

    Use it as `async with Client(url) as client:`, once, and from one event loop. Inside it connects in the background,
    and at the end it closes the connection, so that others see at once that the user has left.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token | None = None,
        username: str | None = None,
        guest_token: str | None = None,
        history_limit: int = 1000,
        cursor_interval_seconds: float = 0.05,
        backoff: Backoff | None = None,
        heartbeat: Heartbeat | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`url`: such as `wss://host/ws`. Raises ValueError if it cannot be the address of a WebSocket.

        `token`: an access token, or a function that returns one. The client calls it before every connection, and
        before the present token expires, so that the connection stays open. Without, the user is a guest
        with `username`, and with the `guest_token` of an earlier client the same guest as before. `history_limit`: how
        many chat messages the client keeps. `tls`: where the default context will not do.
        """
        socket_address(url, {})
        self._url = url
        self._identity = Identity(token, username, guest_token)
        self._archive = Archive(url, self._identity, tls)
        self._session = Session(
            history_limit=history_limit, cursor_interval_seconds=cursor_interval_seconds, random=random.random
        )
        self._connection = Connection(
            Callbacks(self._address, self._connecting, self._opened, self._received, self._ended),
            backoff=backoff or Backoff(),
            heartbeat=heartbeat or Heartbeat(),
            renews_token=self._identity.renews_token,
            tls=tls,
        )
        self._renewal = Renewal(self._identity.fetch, self._connection.send, self._now)
        self._state = ConnectionState()
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._subscriptions: list[Subscription] = []
        self._outcomes = Outcomes()
        self._loading = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Begin to connect. Raises RuntimeError if the client was entered before."""
        if self._running is not None:
            raise RuntimeError("a client is used once: make another one")
        self._running = asyncio.create_task(self._run(), name="studyroom client")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection and all calls that wait. Others see at once that the user has left.

        Takes 3 s at most, and may be called again.
        """
        running = self._running
        if running is None:
            return
        try:
            await self._connection.close()
        finally:
            running.cancel()
            await asyncio.wait({running})
        if not running.cancelled():
            running.result()  # raises the mistake of the client, if there was one

    # --- the room -------------------------------------------------------------------------------------------

    async def join(self, room_id: str | UUID) -> None:
        """Enter a room, and come back to it after every lost connection. Returns when the user is in it.

        A user is in one room at a time, so this leaves another one. If the caller is cancelled, the room stays wanted.
        Raises ValueError for an id that is not a UUID, and StudyroomError when the server refuses, when the connection
        is closed for good, and with `left` when the program leaves or joins another room meanwhile.
        """
        room = canonical_uuid(str(room_id))
        self._check_open()
        if self._session.entry.wanted != room:
            self._outcomes.settle_joins(RoomState(), LEFT)
        joined = self._outcomes.join()
        self._do(lambda: self._session.join(room))
        await joined

    def leave(self) -> None:
        """Leave the room. Own messages that are not stored fail with `left`."""
        self._do(self._session.leave)
        self._outcomes.settle_joins(RoomState(), LEFT)

    def rename(self, username: str) -> None:
        """Show a guest under another name from now on. Others see no leave and no join, and get MemberUpdated.

        The server makes the same of the name as of that in the constructor, and `me` has it then. A user with a token
        gets the event ErrorReceived with `rename_not_allowed`.
        """
        self._identity.username = username
        self._do(lambda: self._session.rename(username))

    async def chat(
        self,
        content: str,
        *,
        message_id: str | UUID | None = None,
        reply_to: ChatMessage | None = None,
        mentions: Iterable[str | UUID] = (),
    ) -> ChatMessage:
        """Send a message, now or as soon as there is a connection, and return it when it is stored.

        It is stored once, however often the connection is lost, and in the order of the calls. `message_id`: to send a
        message again, also from another process. The server recognises it for `chat_retry_seconds`. If the caller is
        cancelled, the message stays in the queue. `reply_to`: the message that this one replies to. `mentions`: the
        ids of up to 20 users. Both need a server with `limits.living_chat`.

        Raises ValueError for text without anything that people can see or that is not Unicode, and StudyroomError when
        the message is not stored. With the code `expired` it may be stored or not.
        """
        text, users = checked_text(content), user_ids_of(mentions)
        self._check_room()
        own = new_message_id() if message_id is None else canonical_uuid(str(message_id))
        self._session.write(own, text, None if reply_to is None else reply_to.id, users)
        outcome = self._outcomes.chat(own)
        self._do(lambda: None)
        return await outcome

    async def edit(self, message: ChatMessage, content: str, *, mentions: Iterable[str | UUID] = ()) -> None:
        """Replace the content and the mentions of an own message. Returns when the server has stored the edit.

        It is stored once, however often the connection is lost. Raises ValueError for a text that the protocol does not
        allow and for a message that is not stored, and StudyroomError when the edit is not stored. With the code
        `expired` it may be stored or not.
        """
        await self._change(edit_of(message, content, mentions))

    async def delete(self, message: ChatMessage) -> None:
        """Delete an own message. Waits and raises as `edit`."""
        await self._change(deletion_of(message))

    async def react(self, message: ChatMessage, reaction: str, *, is_on: bool = True) -> None:
        """React to a message with an emoji or a short text, or take the reaction back. Waits and raises as `edit`."""
        await self._change(reaction_of(message, reaction, is_on=is_on))

    def broadcast(self, event: str, data: Any = None, *, key: str | None = None) -> bool:
        """Send an event to the other members of the room. Nothing stores it.

        A newer event with the same name and key replaces one that waits somewhere. Returns false, and sends nothing,
        outside a room, if the event is over the server's limits, and while many messages wait to be sent. Raises
        ValueError for a name, a key or data that the protocol does not allow.
        """
        message = event_of(event, data, key)
        sent = False

        def send() -> None:
            nonlocal sent
            sent = not self._connection.is_congested and self._session.send_in_room(message)

        self._do(send)
        return sent

    def update_presence(self, change: Mapping[str, Any]) -> None:
        """Change fields that the user shows to the others in the room. None deletes a field, and all others stay.

        `presence` shows it at once. The client sends changes together, and again after a reconnect if the server does
        not have them. Does nothing if no room is wanted. Raises ValueError for a name or a value that the protocol does
        not allow.
        """
        fields = fields_of(change)
        self._do(lambda: self._session.update_presence(fields))

    def move_cursor(self, x: float, y: float, element_id: str | None = None) -> None:
        """Show where the user points. Call it as often as you like: the client sends the last position always.

        Raises ValueError for numbers that are not finite, and for an `element_id` over 256 characters.
        """
        position = position_of(x, y, element_id)
        self._do(lambda: self._session.move_cursor(position))

    def set_typing(self, is_typing: bool) -> None:
        """Show that the user is typing. Call it at every key: it becomes false 6 s after the last call."""
        self._do(lambda: self._session.set_typing(self._now(), is_typing=is_typing))

    async def load_earlier(self, count: int = 50) -> tuple[ChatMessage, ...]:
        """Load a page of earlier messages into `messages`, and return those that are new there.

        The server leaves out deleted ones, so a page may be empty although `has_more` is true. Raises StudyroomError.
        """
        async with self._loading:
            room_id, room = self._session.entry.wanted, self._session.room
            if room_id is None:
                raise StudyroomError(_NO_ROOM)
            if room.history.is_whole:
                return ()
            begun, before = room.history.round, room.history.loading()
            try:
                page, earlier = await self._archive.messages(room_id, count, before)
                # Before a list that has started over, there would be a gap.
                if room.history.round != begun:
                    return ()
                return room.history.loaded([room.shown(message) for message in page], earlier)
            finally:
                room.history.not_loaded()
                self._do(lambda: None)

    async def roster(self, room_id: str | UUID | None = None) -> tuple[Member, ...]:
        """Return the members of a room as the server knows them, also of a room that the user is not in.

        Without an id, of the wanted room. Raises ValueError for an id that is not a UUID, and StudyroomError.
        """
        room = self._session.entry.wanted if room_id is None else canonical_uuid(str(room_id))
        if room is None:
            raise StudyroomError(_NO_ROOM)
        return tuple(member_of(user) for user in await self._archive.roster(room))

    # --- what there is ---------------------------------------------------------------------------------------

    def events(self, limit: int = 10_000) -> Subscription:
        """Return the events from now on, for `async for`. Each call gives all of them.

        `limit`: how many may wait. A program that takes none for longer gets EventsLost, and goes on with the values
        of the client, which are complete.
        """
        subscription = Subscription(limit)
        if self._state.status is ConnectionStatus.CLOSED:
            subscription.close()
        else:
            self._subscriptions.append(subscription)
        return subscription

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when the condition is true. The client asks it after everything that happens.

        Raises StudyroomError when the connection is closed for good.
        """
        if condition():
            return
        self._check_open()
        await self._outcomes.condition(condition)

    # --- calls of the connection -----------------------------------------------------------------------------

    async def _address(self) -> Address:
        headers, query = await self._identity.credentials()
        # The token may take a while. The room is read after it, because it may have changed.
        return Address(socket_address(self._url, {**query, "room": self._session.address_room}), headers)

    def _connecting(self) -> None:
        self._state = ConnectionState(ConnectionStatus.CONNECTING)
        self._do(lambda: None)

    def _opened(self, welcome: WelcomePayload) -> None:
        self._identity.guest_token = welcome.guest_token or self._identity.guest_token
        self._state = ConnectionState(ConnectionStatus.OPEN)
        if self._identity.renews_token:
            self._renewal.opened(welcome)
        self._do(lambda: self._session.opened(welcome))

    def _received(self, message: ServerMessage | Refusal) -> None:
        self._renewal.received(message)
        self._do(lambda: self._session.received(message, self._now()))

    def _ended(self, ended: Ended, reconnects: bool) -> None:
        self._renewal.stop()
        status = ConnectionStatus.WAITING if reconnects else ConnectionStatus.CLOSED
        self._state = ConnectionState(status, ended.failure, int(ended.code))
        event = Disconnected(int(ended.code), ended.reason, reconnects, ended.failure)
        self._do(lambda: self._session.closed(event, ended.room_hint))

    # --- after every call and event --------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._connection.run()
        except asyncio.CancelledError:
            self._ended(CLOSE_CALLED, reconnects=False)
            raise
        except Exception as error:
            # A mistake of the client. Nobody may wait for it for ever.
            self._ended(Ended(Failure("internal", repr(error))), reconnects=False)
            raise

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _check_open(self) -> None:
        """Raises RuntimeError before the client is entered, and StudyroomError when it is closed for good."""
        if self._state.status is ConnectionStatus.CLOSED and self._state.failure is not None:
            raise StudyroomError(self._state.failure)
        if self._running is None:
            raise RuntimeError("enter the client first: async with Client(…) as client")

    def _check_room(self) -> None:
        """Raises as `_check_open`, and StudyroomError if no room is wanted."""
        self._check_open()
        if self._session.entry.wanted is None:
            raise StudyroomError(_NO_ROOM)

    async def _change(self, message: ChangeOfChat) -> None:
        self._check_room()
        outcome = self._outcomes.change(self._session.change(message))
        self._do(lambda: None)
        # Another call may wait for the same deletion, so a call that is cancelled leaves the future as it is.
        await asyncio.wait({outcome})
        outcome.result()

    def _do(self, work: Callable[[], None]) -> None:
        """Do the work and everything that is due. Then pass the results on, and set the timer for the next time."""
        work()
        session = self._session
        closed = self._state.failure if self._state.status is ConnectionStatus.CLOSED else None
        wake_at = session.poll(self._now(), closed)
        messages: list[ClientMessage] = session.outbox[:]
        session.outbox.clear()
        for message in messages:
            self._connection.send(message)
        self._outcomes.settle_chats(session.outcomes[:])
        session.outcomes.clear()
        self._outcomes.settle_changes(session.changed[:])
        session.changed.clear()
        self._outcomes.settle_joins(session.entry.state, closed)
        self._publish()
        self._outcomes.settle_conditions(closed)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at < math.inf and closed is None:
            self._timer = asyncio.get_running_loop().call_at(max(wake_at, self._now()), self._do, lambda: None)

    def _publish(self) -> None:
        events = self._session.events[:]
        self._session.events.clear()
        for event in events:
            for subscription in self._subscriptions:
                subscription.put(event)
        if self._state.status is ConnectionStatus.CLOSED:
            for subscription in self._subscriptions:
                subscription.close()
        self._subscriptions = [one for one in self._subscriptions if not one.closed]
