"""Assembles the gateway from its parts, and starts, drains and stops it."""

import asyncio
import socket
from functools import partial
from typing import Any

from studyroom.gateway import DATA_PATH, NOT_COMPILED
from studyroom.gateway.auth.identity import Authenticator
from studyroom.gateway.auth.key_reader import KeyReader
from studyroom.gateway.chat.authors import Authors
from studyroom.gateway.chat.backfill import Backfill
from studyroom.gateway.chat.deletions import Deletions
from studyroom.gateway.chat.publisher import ChatPublisher
from studyroom.gateway.chat.resume import Resumes
from studyroom.gateway.chat.stream import ChatStream, start_all
from studyroom.gateway.chat.view import Retries, StreamView
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.heartbeat import Heartbeat
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.connections.registry import ConnectionCounts, Registry
from studyroom.gateway.custom_presence.updates import PresenceUpdates
from studyroom.gateway.document_http.requests import DocumentRequests
from studyroom.gateway.document_http.routers import document_routers
from studyroom.gateway.documents.documents import Documents
from studyroom.gateway.edge.admission import Admission
from studyroom.gateway.edge.arrivals import Arrivals
from studyroom.gateway.edge.documents import DocumentAdmission, documents_router
from studyroom.gateway.edge.edge import GatewayEdge
from studyroom.gateway.edge.handover import Handover
from studyroom.gateway.erasure.routers import erasure_routers
from studyroom.gateway.fallback.router import fallback_router
from studyroom.gateway.fallback.uplinks import Uplinks
from studyroom.gateway.gauges import GatewayGauges
from studyroom.gateway.http.access import Access
from studyroom.gateway.http.app import build_app
from studyroom.gateway.http.audit import Audit, Trail
from studyroom.gateway.http.routers import routers
from studyroom.gateway.inspection.answers import Inspection
from studyroom.gateway.lifecycle.drain import Drain
from studyroom.gateway.lifecycle.moving import Moves
from studyroom.gateway.lifecycle.shedding import Shedding
from studyroom.gateway.living_chat.changes import Changes
from studyroom.gateway.living_chat.stored_changes import StoredChanges
from studyroom.gateway.membership.join_barrier import JoinBarrier
from studyroom.gateway.membership.joins import Joins
from studyroom.gateway.membership.lease import Lease
from studyroom.gateway.membership.leaves import Leaves
from studyroom.gateway.membership.pending import PendingWork
from studyroom.gateway.membership.presence_client import PresenceClient
from studyroom.gateway.membership.reannouncement import Reannouncement
from studyroom.gateway.membership.resync import Resync
from studyroom.gateway.membership.room_repairs import RoomRepairs
from studyroom.gateway.metrics import GatewayMetrics
from studyroom.gateway.moderation.enforcement import Enforcement
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.gateway.rooms.flush_scheduler import FlushScheduler
from studyroom.gateway.rooms.rooms import Hosting, Rooms, RoomsInShards
from studyroom.gateway.settings import GatewaySettings
from studyroom.gateway.transport.poller import call_after_reads, pause_between_reads
from studyroom.gateway.transport.socket_transport import use_fast_transports
from studyroom.gateway.wire.sockets import AwaitedRequests, PlainSockets, UnreadAnswers
from studyroom.gateway.wire.upgrade import HttpProtocol
from studyroom.gateway.wire.websocket import answer_handshake
from studyroom.shared.chassis import logs
from studyroom.shared.chassis.api_keys import ApiKeys
from studyroom.shared.chassis.busyness import busy_seconds
from studyroom.shared.chassis.http import HttpServer
from studyroom.shared.chassis.nats.provisioned import check_groups
from studyroom.shared.chassis.settings import Settings, StorageSettings
from studyroom.shared.chassis.spec import Chassis
from studyroom.shared.contract import subjects
from studyroom.shared.contract.broadcasts import BROADCAST_OVERHEAD_BYTES
from studyroom.shared.contract.groups import ByGroup, all_groups
from studyroom.shared.contract.ids import GatewayId, new_gateway_id
from studyroom.shared.contract.moderation import Target

log = logs.get(__name__)

_STREAM_RETRY_SECONDS = 0.1
_STOP_GRACE_SECONDS = 1.0
_NATS_GONE_SECONDS = 3.0
"""How long a drain waits for NATS. Leaves that it could not send follow from the end of its lease."""
_FINISH_SECONDS = 5.0
"""How long a drain waits for leaves, so that a shard without presence does not use up the deadline of the drain."""
_RESPONSE_READ_SECONDS = 60.0
"""How long a client may take to read the response to a plain request. The largest has about 5 MB."""


class Gateway:
    def __init__(self, chassis: Chassis, settings: dict[type[Settings], Any]) -> None:
        own: GatewaySettings = settings[GatewaySettings]
        bus, tasks, tracer = chassis.bus, chassis.tasks, chassis.tracer
        gateway, metrics = new_gateway_id(), GatewayMetrics(chassis.registry)
        connections = Registry[Connection]()
        rooms = Rooms()
        self._settings, self._chassis, self._storage = own, chassis, settings[StorageSettings]
        self._metrics, self._rooms = metrics, rooms
        self._audit = Audit(chassis.registry)
        self._keys = KeyReader(own.jwks_url, own, metrics) if own.jwks_url is not None else None
        self._authenticator = Authenticator(own, self._keys.ring if self._keys is not None else None)

        # Chat.
        groups = all_groups(self._storage.groups)
        self._streams = ByGroup([ChatStream(bus, group) for group in groups])
        self._views = ByGroup([StreamView(one, history_on_join=own.history_on_join) for one in self._streams])
        self._backfills = ByGroup([self._fill(rooms, stream) for stream in self._streams])
        self._chat = ChatPublisher(
            bus,
            tasks,
            metrics,
            self._streams,
            deadline_seconds=own.chat_deadline_seconds,
            acknowledged=lambda room, sequence, unknown: self._backfills.of(room).acknowledged(room, sequence, unknown),
            tracer=tracer,
        )
        authors = Authors(self._chat, self._backfills, living_chat=own.living_chat)
        self._stored_changes = StoredChanges(self._streams)
        self._deletions = Deletions(bus, self._streams, tasks, self._stored_changes.after)
        resumes = Resumes(
            self._streams,
            self._backfills,
            metrics,
            at_most=own.resume_max_messages,
            max_bytes=own.write_buffer_max_bytes // 2,
        )

        # Memberships, and their repair where presence and this gateway differ.
        self._moderation = Moderation(
            bus, tasks, partial(self._carry_out, Enforcement(connections)), chat_incarnation=self._on_chat_incarnation
        )
        self._presence = PresenceClient(bus)
        self._pending = PendingWork(tasks)
        leaves = Leaves(self._presence, self._pending, rooms, authors)
        join_barrier = JoinBarrier(gateway, self._presence, metrics)
        reannouncement = Reannouncement(
            gateway, rooms, connections, self._presence, metrics, join_barrier, leaves, self._pending
        )
        self._presence.on_late_join(reannouncement.is_present)
        self._lease = Lease(bus, gateway)
        self._resync = Resync(
            rooms, reannouncement, join_barrier, self._presence, metrics, tasks, self._lease, len(groups)
        )
        self._lease.on_lapsed(partial(self._resync.invalidate, "the lease had lapsed"))
        moves = Moves(own, metrics)
        self._drain = Drain(own, connections, moves)

        # Rooms.
        repairs = RoomRepairs(connections, reannouncement, self._resync, self._backfills, self._deletions, moves)
        scheduler = FlushScheduler(
            own.collect_max_ms / 1000,
            busy_seconds,
            shortest_seconds=own.collect_min_ms / 1000,
            pause=pause_between_reads,
            call_soon=call_after_reads,
        )
        self._hosting = Hosting(gateway, rooms, bus, scheduler, metrics, self._views, repairs, tracer)
        joins = Joins(
            rooms,
            self._hosting,
            self._presence,
            join_barrier,
            leaves,
            self._pending,
            resumes,
            self._moderation,
            metrics,
            own.spread,
            deadline_seconds=own.join_deadline_seconds,
            tracer=tracer,
        )

        # Admission and connections.
        self._admission = Admission(
            own,
            self._authenticator,
            self._drain,
            connections,
            self._moderation,
            metrics,
            inherited_files=chassis.siblings.files if chassis.siblings is not None else 0,
        )
        self._handover = (
            Handover(chassis.siblings, metrics, below=self._admission.descriptors, has_room=self._admission.has_room)
            if chassis.siblings is not None
            else None
        )
        self._awaited = AwaitedRequests(own.handshake_seconds)
        self._unread = UnreadAnswers(_RESPONSE_READ_SECONDS, max_bytes=own.write_buffers_max_bytes)
        self._plain = PlainSockets(self._admission.capacity.of_address, self._admission.limit_key)
        self._heartbeat = Heartbeat(own, connections, self._awaited, self._unread, self._plain, metrics)
        self._shedding = Shedding(bus, gateway, own, connections, rooms, self._heartbeat, self._drain, moves, metrics)
        hub = Hub(
            limits=own.limits,
            stated_limits=own.stated_limits,
            room_hints=own.room_hints,
            metrics=metrics,
            authenticator=self._authenticator,
            connections=connections,
            pulse=self._heartbeat,
            joins=joins,
            leaves=leaves,
            authors=authors,
            changes=Changes(
                authors,
                self._deletions,
                self._streams,
                self._pending,
                living_chat=own.living_chat,
                edit_seconds=own.chat_edit_seconds,
                deadline_seconds=own.chat_deadline_seconds,
            ),
            updates=PresenceUpdates(
                self._presence,
                self._pending,
                max_bytes=own.presence_max_bytes,
                write_seconds=own.presence_write_ms / 1000,
            ),
            profiles=reannouncement,
            retries=Retries(self._streams),
            broadcast_max_bytes=lambda: min(own.broadcast_max_bytes, bus.max_payload_bytes - BROADCAST_OVERHEAD_BYTES),
        )
        self._uplinks = Uplinks(gateway, bus, tasks)
        self._documents = self._share_documents(gateway, scheduler, connections.counts) if own.documents else None
        self._inspection = Inspection(bus, gateway, rooms, hub, self._documents, self._moderation, self.not_ready)
        self._edge = self._build_edge(hub)
        self._server: HttpServer | None = None
        metrics.watch(GatewayGauges(connections, rooms, scheduler, self._drain, self._presence))

    def _share_documents(self, gateway: GatewayId, scheduler: FlushScheduler, counts: ConnectionCounts) -> Documents:
        own = self._settings
        return Documents(
            gateway,
            self._chassis,
            scheduler,
            self._moderation,
            counts,
            own.document_limits,
            deadline_seconds=own.document_deadline_seconds,
            leeway_seconds=own.jwt_leeway_seconds,
        )

    def _build_edge(self, hub: Hub[Connection]) -> GatewayEdge:
        shared, own = self._documents, self._settings
        documents = DocumentAdmission(self._admission, shared.hub) if shared is not None else None
        return GatewayEdge(
            self._admission,
            hub,
            documents,
            self._handover,
            chat_max_chars=own.chat_max_chars,
            channels_max=own.channels_max,
        )

    async def start(self) -> None:
        own = self._settings
        use_fast_transports()
        listener = self._chassis.listen(own.host, own.port)
        await check_groups(self._chassis.bus, subjects.MODERATION_STREAM, len(self._streams))
        await start_all(self._streams, self._chassis.tasks)
        await self._moderation.start()
        await self._inspection.start()
        await self._chat.start()
        await self._presence.start()
        await self._hosting.start()
        if own.http_fallback:
            await self._uplinks.start()
        if self._documents is not None:
            await self._documents.start()
            self._heartbeat.bound_also(self._documents.slow)
        while not await self._lease.renew():
            await asyncio.sleep(_STREAM_RETRY_SECONDS)
        self._server = self._build_server(listener)
        self._chassis.bus.on_reconnected(self._on_reconnected)
        self._chassis.bus.on_disconnected(self._rooms.invalidate_all)
        for backfill in self._backfills:
            self._chassis.bus.on_disconnected(backfill.disconnected)
            self._chassis.tasks.supervise("backfill", backfill.run)
        self._chassis.tasks.supervise("moderation", self._moderation.run)
        self._chassis.tasks.supervise("lease", self._lease.keep)
        self._chassis.tasks.supervise("resync", self._resync.run)
        self._chassis.tasks.supervise("heartbeat", self._heartbeat.run)
        self._chassis.tasks.supervise("cursor digests", self._hosting.send_digests)
        if own.shed_per_second:
            await self._shedding.start()
            self._chassis.tasks.supervise("shedding", self._shedding.run)
        if self._keys is not None:
            self._chassis.tasks.supervise("keys", self._keys.run)
        await self._server.start()
        if self._handover is not None:
            self._handover.start(
                partial(
                    answer_handshake,
                    self._edge.admit,
                    message_max_bytes=own.message_max_bytes,
                    connections=self._server.connections,
                )
            )
            self._chassis.tasks.supervise("handover", self._handover.run)
        connections_max = self._admission.capacity.connections
        log.info("data path", variant=DATA_PATH, **({"reason": NOT_COMPILED} if NOT_COMPILED else {}))
        log.info("listening", host=own.host, port=self._server.port, connections_max=connections_max)

    def _fill(self, rooms: Rooms, stream: ChatStream) -> Backfill:
        """Fill the gaps in the chat of the rooms that belong to a stream."""
        group, most = stream.group, self._settings.resume_max_messages
        own = rooms if group.count == 1 else RoomsInShards(rooms, group.shards)
        backfill = Backfill(own, stream, self._chassis.tasks, self._metrics, at_most=most)
        stream.on_replaced(backfill.replaced)
        return backfill

    def _carry_out(self, enforcement: Enforcement, target: Target) -> None:
        enforcement.carry_out(target)
        if self._documents is not None:
            self._documents.carry_out(target)

    def _on_chat_incarnation(self, event: str) -> None:
        for stream, backfill in zip(self._streams, self._backfills, strict=True):
            if event == subjects.chat_incarnation_event(stream.group.chat_incarnation):
                backfill.suspect()

    def _build_server(self, listener: socket.socket) -> HttpServer:
        own = self._settings
        access = Access(self._authenticator, ApiKeys(own.api_keys), self._moderation)
        chassis, trail = self._chassis, Trail(self._chassis.bus)
        all_routers = routers(
            own, access, self._audit, chassis.bus, self._presence, self._streams, self._stored_changes,
            self._deletions, self._moderation, self._views, self._metrics,
        )  # fmt: skip
        if own.http_fallback:
            fallback = partial(fallback_router, self._edge, self._admission, self._uplinks, self._metrics)
            all_routers.append(fallback(message_max_bytes=own.message_max_bytes))
        asked = None
        if self._documents is not None:
            asked = DocumentRequests(chassis.bus, self._documents.hub.metrics, chassis.tracer)
        all_routers += erasure_routers(
            access, self._audit, chassis.bus, chassis.tasks, self._streams, self._deletions,
            self._moderation, self._presence, asked, trail, has_hooks=self._storage.has_hooks,
            retention_seconds=own.retention_seconds, deadline_seconds=own.request_deadline_seconds,
        )  # fmt: skip
        if asked is not None:
            guard = access, self._moderation, self._admission, self._audit
            shared = document_routers(own, *guard, asked, self._stored_changes, trail)
            all_routers += [documents_router(), *shared]
        app = build_app(with_page=own.page, gate=self._admission, routers=all_routers)
        limits = own.wire_limits
        return HttpServer(
            app,
            listener,
            below=self._admission.descriptors,
            make_room=self._plain.make_room,
            http=partial(HttpProtocol, self._edge, limits, self._awaited, self._unread, self._plain),
            serve=Arrivals(self._edge, limits, self._awaited, self._plain).serve,
        )

    def not_ready(self) -> list[str]:
        reasons = []
        if self._keys is not None and not self._keys.ring.keys:
            reasons.append("the keys for access tokens have not been read yet")
        reasons += self._chat.problems(self._settings.chat_max_chars)
        if self._lease.overdue:
            reasons.append("the lease is overdue: NATS does not take writes")
        return reasons

    async def drain(self) -> None:
        """Wait until load balancers have noticed, close all connections, and finish their leaves and messages."""
        await asyncio.sleep(self._settings.drain_delay_seconds)
        self._drain.active = True
        if self._handover is not None:
            self._handover.announce()
        if self._server is not None:
            self._server.stop_listening()
        await self._chat.settled()
        if self._documents is not None:
            await self._documents.close_all(spread_ms=self._settings.reconnect_spread_ms)
        await self._drain.close_all()
        finishing = self._chassis.tasks.spawn("finish", self._finish())
        gone = self._chassis.tasks.spawn("NATS is gone", self._chassis.bus.gone(_NATS_GONE_SECONDS))
        await asyncio.wait((finishing, gone), return_when=asyncio.FIRST_COMPLETED)
        if not finishing.done():
            log.warning("NATS is away: presence removes the members of this gateway when its lease expires")

    async def _finish(self) -> None:
        await self._chat.settled()
        if left := await self._pending.settled(_FINISH_SECONDS):
            log.warning("presence has not answered all leaves: it removes these members with the lease", left=left)
        await self._lease.give_up()

    async def stop(self) -> None:
        if self._handover is not None:
            self._handover.stop()
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_SECONDS)

    async def _on_reconnected(self) -> None:
        for backfill in self._backfills:
            backfill.invalidate()
        self._resync.invalidate("reconnected to NATS")
        self._rooms.recall_cursors(range(subjects.SHARDS))
