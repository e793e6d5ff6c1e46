"""The gateway as a process: everything of this package, put together."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any

from pydantic import ValidationError

from studyroom.gateway.auth.identity import Authenticator
from studyroom.gateway.auth.key_reader import KeyReader
from studyroom.gateway.chat.authors import Authors
from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.publisher import ChatPublisher
from studyroom.gateway.chat.resume import Resumes
from studyroom.gateway.chat.stream import ChatStream
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.heartbeat import Heartbeat
from studyroom.gateway.connections.pace import Pace
from studyroom.gateway.edge.admission import Admission
from studyroom.gateway.edge.connection_counts import ConnectionCounts
from studyroom.gateway.http.access import Access
from studyroom.gateway.http.app import build_app
from studyroom.gateway.http.audit import Audit
from studyroom.gateway.http.routers import routers
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.lifecycle.shedding import Shedding
from studyroom.gateway.membership.join_barrier import JoinBarrier
from studyroom.gateway.membership.joins import Joins
from studyroom.gateway.membership.lease import Lease
from studyroom.gateway.membership.leaves import Leaves
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.membership.reannouncement import Reannouncement
from studyroom.gateway.membership.resync import Resync
from studyroom.gateway.metrics import GatewayMetrics, Gauges
from studyroom.gateway.moderation.enforcement import Enforcement
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.gateway.rooms.fanout import Recipient
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.history import History, Stored
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.wire.handshake import Handshake, Refused
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.gateway.wire.transport import use_fast_transports
from studyroom.gateway.wire.upgrade import HttpProtocol, WireLimits
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.api_keys import ApiKeys
from studyroom.shared.chassis.http import HttpServer
from studyroom.shared.chassis.nats.bus import Message
from studyroom.shared.chassis.settings import Settings
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.contract import subjects
from studyroom.shared.contract.ids import ConnectionId, MessageId, new_gateway_id
from studyroom.shared.contract.messages import JoinRoomPayload
from studyroom.shared.contract.presence import RecallRequest, RoomConnection

log = logs.get(__name__)

_STREAM_RETRY_SECONDS = 0.1
_STOP_GRACE_SECONDS = 1.0
_NATS_GONE_SECONDS = 3.0
"""A gateway that drains does not wait for NATS for longer. What it could not say, the end of its lease says."""
_FINISH_SECONDS = 5.0  # for leaves, in a drain: a shard that nobody serves must not use up its deadline
_ANSWER_READ_SECONDS = 60.0
"""In which a client has to have read the answer to a plain request; the largest has some 5 MB."""
_HISTORY_KEPT_MIN = 64
"""A resume that is being read must reach what is remembered, however busy the room is."""


class Gateway:
    """Edge for the WebSocket adapter and hub for connections."""

    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        own: GatewaySettings = settings[GatewaySettings]
        self._settings = own
        self._bus = chassis.bus
        self._tasks = chassis.tasks
        self._listen = chassis.listen
        self.metrics = GatewayMetrics(chassis.registry)
        self._audit = Audit(chassis.registry)
        self.limits = own.limits
        self._connections: dict[ConnectionId, Connection] = {}
        self._keys = KeyReader(own.jwks_url, own, self.metrics) if own.jwks_url is not None else None
        self.authenticator = Authenticator(own, self._keys.ring if self._keys is not None else None)
        self.history_kept = max(own.history_on_join, _HISTORY_KEPT_MIN)
        self.gateway_id = new_gateway_id()
        self._rooms = Rooms(
            chassis.bus, FlushScheduler(own.cursor_tick_ms / 1000), self.metrics, self, unhosted=self._cannot_host
        )
        self._stream = ChatStream(chassis.bus)
        self._backfill = Backfill(
            self._rooms, self._stream, chassis.tasks, self.metrics, at_most=own.resume_max_messages
        )
        self._stream.on_replaced(self._backfill.replaced)
        self._chat = ChatPublisher(
            chassis.bus,
            chassis.tasks,
            self.metrics,
            self._stream,
            deadline_seconds=own.chat_deadline_seconds,
            acknowledged=self._backfill.acknowledged,
        )
        self._authors = Authors(self._chat, rewritten=self._backfill.suspect)
        self.chat_is_rewritten: Callable[[], None] = self._backfill.suspect
        enforcement = Enforcement(self._connections.values)
        self._moderation = Moderation(chassis.bus, enforcement.carry_out, chat_incarnation=self._backfill.suspect)
        self._deletions = Deletions(chassis.bus, self._stream, chassis.tasks)
        resumes = Resumes(
            self._stream,
            self._backfill,
            at_most=own.resume_max_messages,
            max_bytes=own.write_buffer_max_bytes // 2,
            count=lambda result: self.metrics.resumes.labels(result=result).inc(),
        )
        self._presence = PresenceClient(chassis.bus, late_join=self.connection_is_present)
        self._pending = PendingWork(chassis.tasks)
        self._leaves = Leaves(self._presence, self._pending, self._rooms, self._authors)
        join_barrier = JoinBarrier(self.gateway_id, self._presence, self.metrics)
        self._joins = Joins(
            self._rooms,
            self._presence,
            join_barrier,
            self._leaves,
            resumes,
            self._moderation,
            self.metrics,
            deadline_seconds=own.join_deadline_seconds,
        )
        self._reannouncement = Reannouncement(
            self.gateway_id,
            self._rooms,
            self._presence,
            self.metrics,
            join_barrier,
            self._leaves,
            self._pending,
            connections=self._connections,
        )
        self._lease = Lease(
            chassis.bus, self.gateway_id, lapsed=lambda: self._resync.invalidate("the lease had lapsed")
        )
        self._resync = Resync(
            self._rooms,
            self._reannouncement,
            self._presence,
            self.metrics,
            chassis.tasks,
            renew_lease=self._lease.renew,
        )
        self._awaited = AwaitedRequests(own.handshake_seconds)
        self._unread = UnreadAnswers(_ANSWER_READ_SECONDS, max_bytes=own.write_buffers_max_bytes)
        self._pace = Pace(own.turn_ms / 1000, lambda: self.metrics.traffic.received)
        self._drain = Drain(own, lambda: list(self._connections.values()))
        self._counts = ConnectionCounts()
        self._admission = Admission(
            own, self.authenticator, self._drain, self._counts, self._moderation.ban_of, self.metrics
        )
        self._plain = PlainSockets(self._admission.capacity.of_address, self._admission.limit_key)
        self._heartbeat = Heartbeat(
            own, self._connections.values, self._awaited, self._unread, self._plain, self.metrics
        )
        self.has_websocket, self.check = self._admission.has_websocket, self._admission.check
        self.request_refused = self._admission.request_refused
        self._shedding = Shedding(chassis.bus, self.gateway_id, own, self._drain, self.metrics)
        self._server: HttpServer | None = None
        self.metrics.watch(
            Gauges(
                connections=lambda: len(self._connections),
                rooms=lambda: len(self._rooms),
                members=lambda: sum(len(room) for room in self._rooms),
                drain_remaining=lambda: self._drain.remaining,
                most_of_an_address=self._counts.most_of_an_address,
                most_of_a_user=self._counts.most_of_a_user,
                waiting_questions=lambda: {kind: lane.waiting_in() for kind, lane in self._presence.lanes.items()},
                silent_shards=self._presence.silent_shards,
            )
        )

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        own = self._settings
        use_fast_transports()
        listener = self._listen(self._settings.host, self._settings.port)
        await self._stream.start()
        await self._moderation.start()
        await self._chat.start()
        await self._presence.start()
        await self._bus.subscribe(subjects.CURSOR_RECALL, self._on_recall)
        while not await self._lease.renew():
            await asyncio.sleep(_STREAM_RETRY_SECONDS)
        limits = WireLimits(own.message_max_bytes, own.headers_max_bytes, own.body_max_bytes)
        self._server = HttpServer(
            build_app(
                with_page=self._settings.page,
                routers=routers(
                    own,
                    Access(self.authenticator, ApiKeys(own.api_keys), self._moderation.ban_of),
                    self._audit,
                    self._bus,
                    self._presence,
                    self._stream,
                    self._deletions,
                    self._moderation,
                    epoch=self.epoch,
                    commits=self.metrics.commit_latency.observe,
                    storage_full=self.metrics.chat_storage_full.inc,
                ),
            ),
            listener,
            below=self._admission.descriptors,
            make_room=self._plain.make_room,
            http=partial(HttpProtocol, self, limits, self._awaited, self._unread, self._plain),
        )
        self._bus.on_reconnected(self._on_reconnected)
        self._bus.on_disconnected(self._rooms.invalidate_all)
        self._bus.on_disconnected(self._backfill.disconnected)
        self._tasks.supervise("moderation", self._moderation.run)
        self._tasks.supervise("lease", self._lease.keep)
        self._tasks.supervise("resync", self._resync.run)
        self._tasks.supervise("backfill", self._backfill.run)
        self._tasks.supervise("comparison", self._resync.compare_for_ever)
        self._tasks.supervise("heartbeat", self._heartbeat.run)
        self._tasks.supervise("cursor digests", partial(self._rooms.send_digests, self._resync.suspect))
        self._tasks.supervise("pace", self._pace.run)
        if self._settings.shed_per_second:
            await self._shedding.start()
            self._tasks.supervise("shedding", self._shedding.run)
        if self._keys is not None:
            self._tasks.supervise("keys", self._keys.run)
        await self._server.start()
        most = self._admission.capacity.connections
        log.info("listening", host=own.host, port=self._server.port, connections_max=most)

    def not_ready(self) -> list[str]:
        reasons = []
        if self._keys is not None and not self._keys.ring.keys:
            reasons.append("the keys of access tokens are not known yet")
        reasons += self._chat.problems(self._settings.chat_max_chars)
        if self._lease.overdue:
            reasons.append("the lease is not renewed: NATS does not take writes")
        return reasons

    async def drain(self) -> None:
        """Serve on until load balancers have noticed; then close everyone, and finish what they had begun."""
        await asyncio.sleep(self._settings.drain_delay_seconds)
        self._drain.active = True
        if self._server is not None:
            self._server.stop_listening()
        await self._chat.settled()
        await self._drain.close_all()
        finishing = self._tasks.spawn("finish", self._finish())
        gone = self._tasks.spawn("NATS is gone", self._bus.gone(_NATS_GONE_SECONDS))
        await asyncio.wait((finishing, gone), return_when=asyncio.FIRST_COMPLETED)
        if not finishing.done():
            log.warning("NATS is away: presence removes this gateway's members when its lease has ended")

    async def _finish(self) -> None:
        await self._chat.settled()
        if left := await self._pending.settled(_FINISH_SECONDS):
            log.warning("presence was not told of all leaves: it takes them from the end of the lease", left=left)
        await self._lease.give_up()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_SECONDS)

    def _cannot_host(self, room: Room, reason: str) -> None:
        connections = [connection for connection in self._connections.values() if connection.room is room]
        log.error(
            "NATS sends nothing of a room any more: its members are to go", error=reason, members=len(connections)
        )
        for connection in connections:
            self._drain.ask_to_leave(connection)

    async def _on_reconnected(self) -> None:
        self._backfill.invalidate()
        self._resync.invalidate("reconnected to NATS")
        self._rooms.recall_cursors(range(subjects.SHARDS))

    def _on_recall(self, message: Message) -> None:
        try:
            request = RecallRequest.decode(message.data)
        except ValidationError as error:
            log.error("a recall of cursors is not ours", error=str(error))
            return
        self._rooms.recall_cursors(request.shards)

    # --- what rooms ask ---

    def epoch(self, presence_epoch: str) -> str:
        return _short(f"{presence_epoch} {self._stream.terms.epoch}")

    def newest(self, history: History) -> list[Stored]:
        """What the stream would not have any more is not shown."""
        terms = self._stream.terms
        count = self._settings.history_on_join
        if terms.max_messages_per_room > 0:
            count = min(count, terms.max_messages_per_room)
        oldest = ""
        if terms.max_age_seconds > 0:
            oldest = (datetime.now(UTC) - timedelta(seconds=terms.max_age_seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return history.newest(count, not_before=oldest, first=terms.first)

    @property
    def chat_is_sure(self) -> bool:
        return self._stream.sure

    def chat_is_missing(self, room: Room) -> None:
        self._backfill.gap(room)

    def chat_is_deleted(self, room: Room, tombstone: Stored) -> None:
        self._deletions.came_upon(room.id, tombstone)

    def connection_is_present(self, place: RoomConnection) -> None:
        self._reannouncement.is_present(place)

    def connection_is_missing(self, recipient: Recipient) -> None:
        """We were given up for dead, or cut off for long; the connection never left."""
        connection = self._connections.get(recipient.id)
        if connection is not None:
            self._reannouncement.restore(connection)

    # --- the edge -----------------------------------------------------------------------------------------

    def admit(self, handshake: Handshake) -> Connection | Refused:
        decision = self._admission.decide(handshake, connections=len(self._connections))
        if isinstance(decision, Refused):
            return decision
        chat_max_chars = self._settings.chat_max_chars
        return Connection(self, decision.identity, address=decision.address, chat_max_chars=chat_max_chars)

    # --- the hub ------------------------------------------------------------------------------------------

    @property
    def beat(self) -> int:
        return self._heartbeat.beat

    def more_unread(self, size: int) -> None:
        self._heartbeat.more_unread(size)

    def register(self, connection: Connection) -> None:
        self._connections[connection.id] = connection
        self._counts.add(connection.user, connection.address)

    def unregister(self, connection: Connection) -> None:
        if self._connections.pop(connection.id, None) is not None:  # it may have ended before it began
            self._counts.remove(connection.user, connection.address)
            self._authors.forget(connection)

    @property
    def chat_retry_seconds(self) -> int:
        return self._stream.terms.duplicate_window_seconds

    def join(self, connection: Connection, join: JoinRoomPayload) -> None:
        self._pending.begin("join", self._joins.join(connection, join))

    def leave(self, connection: Connection, room: Room, *, lost: bool, at_once: bool = True) -> None:
        self._leaves.leave(connection, room, lost=lost, at_once=at_once)

    def chat(self, connection: Connection, room: Room, content: str, message: MessageId) -> None:
        self._authors.publish(connection, room, content, message)


def _short(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
