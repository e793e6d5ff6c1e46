"""The state of a room or of a user at this gateway, for `studyroom room` and `studyroom user`."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

from studyroom.gateway.auth.identity import NO_EXPIRY
from studyroom.gateway.channels.channel import Channel
from studyroom.gateway.connections.connection import Connection
from studyroom.gateway.connections.heartbeat import SWEEP_SECONDS
from studyroom.gateway.connections.hub import Hub
from studyroom.gateway.documents.connection import DocumentConnection
from studyroom.gateway.documents.documents import Documents
from studyroom.gateway.moderation.moderation import Moderation
from studyroom.gateway.rooms.room import Room
from studyroom.gateway.rooms.rooms import Rooms
from studyroom.shared.chassis.inspection import Answers
from studyroom.shared.chassis.nats.bus import Bus
from studyroom.shared.contract.ids import GatewayId, RoomId, UserId
from studyroom.shared.contract.inspection import (
    CONNECTIONS_MAX,
    ChatState,
    GatewayRoom,
    GatewayUser,
    OpenConnection,
    Process,
    Question,
    connections_digest,
)
from studyroom.shared.contract.inspection_subjects import INSPECT_GATEWAYS


class Inspection:
    def __init__(
        self,
        bus: Bus,
        gateway: GatewayId,
        rooms: Rooms,
        hub: Hub[Connection],
        documents: Documents | None,
        moderation: Moderation,
        not_ready: Callable[[], list[str]],
    ) -> None:
        self._bus = bus
        self._gateway = gateway
        self._rooms = rooms
        self._connections = hub.connections
        self._pulse = hub.pulse
        self._editors: Iterable[DocumentConnection] = documents.hub.connections if documents is not None else ()
        self._moderation = moderation
        self._answers = Answers(bus, self, not_ready)

    async def start(self) -> None:
        """Answer questions from now on."""
        await self._answers.listen(INSPECT_GATEWAYS)

    # --- rooms --------------------------------------------------------------------------------------------

    def of_room(self, room_id: RoomId, question: Question, process: Process) -> GatewayRoom:
        room = self._rooms.get(room_id)
        if room is None:
            return GatewayRoom.model_construct(process=process, gateway=self._gateway)
        state, members, history = room.state, list(room.fanout), room.history
        answer = GatewayRoom.model_construct(
            process=process,
            gateway=self._gateway,
            hosted=True,
            epoch=room.epoch,
            revision=state.revision,
            digest=state.digest,
            members=len(room.members),
            stale=room.is_stale,
            chat=ChatState.model_construct(position=history.position, epoch=room.chat_epoch, waits=history.incomplete),
            connections=len(members),
            connections_digest=connections_digest(member.membership_id for member in members),
            slow=sum(member.lagging for member in members),
        )
        return answer if not question.parts else answer.model_copy(update=self._part_of(room, question))

    def _part_of(self, room: Room, question: Question) -> dict[str, object]:
        return {
            "revisions": {user: revision for user, revision in room.revisions() if question.asks_for(user)},
            "memberships": {
                member.membership_id: member.user for member in room.fanout if question.asks_for(member.user)
            },
            "joining": [
                connection.membership_id
                for connection in self._connections
                if connection.in_or_joining == room.id and connection not in room and question.asks_for(connection.user)
            ],
        }

    # --- users --------------------------------------------------------------------------------------------

    def of_user(self, user: UserId, process: Process) -> GatewayUser:
        own = [connection for connection in self._connections if connection.user == user]
        editors = [editor for editor in self._editors if editor.user == user]
        shown: Iterator[OpenConnection] = chain(map(self._connection, own), map(_editor, editors))
        return GatewayUser.model_construct(
            process=process,
            gateway=self._gateway,
            connections=list(islice(shown, CONNECTIONS_MAX)),
            connections_count=len(own) + len(editors),
            bans=self._moderation.known_bans(user),
        )

    def _connection(self, connection: Connection) -> OpenConnection:
        room = connection.room
        joining = connection.in_or_joining
        return OpenConnection.model_construct(
            id=connection.id,
            kind="channel" if isinstance(connection, Channel) else "connection",
            room=room.id if room is not None else None,
            joining=joining if room is None or joining != room.id else None,
            membership=connection.membership_id if room is not None else None,
            open_seconds=_seconds(self._pulse.beat - connection.opened_beat),
            silent_seconds=_seconds(connection.silent_beats),
            unread_bytes=connection.socket.buffered_bytes,
            slow=connection.lagging,
            held=connection.held,
            closing=connection.closing_since is not None,
            expires_at=connection.expires_at if connection.expires_at < NO_EXPIRY else None,
        )


def _editor(editor: DocumentConnection) -> OpenConnection:
    return OpenConnection.model_construct(
        id=editor.id,
        kind="documents",
        room=editor.room,
        silent_seconds=_seconds(editor.silent_beats),
        unread_bytes=editor.socket.buffered_bytes,
        slow=editor.is_slow,
        closing=editor.socket.closing_since is not None,
        expires_at=editor.expires_at if editor.expires_at < NO_EXPIRY else None,
    )


def _seconds(beats: int) -> int:
    return round(beats * SWEEP_SECONDS)
