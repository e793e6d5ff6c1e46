// A room server on Bun's own WebSockets, which are uWebSockets: a room is a topic of its native publish/subscribe.
// No compression, which is its default. Each message is encoded once for the whole room.
import { randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  args: Bun.argv.slice(2),
  options: { port: { type: 'string' }, 'quiet-joins': { type: 'boolean', default: false } },
});
const announceJoins = !options['quiet-joins'];
const rooms = new Map(); // room id -> the JSON of its members by socket

const encode = (type, payload) => JSON.stringify({ type, payload });

function join(socket, roomId) {
  leave(socket);
  const { data } = socket;
  let users = rooms.get(roomId);
  if (users === undefined) rooms.set(roomId, (users = new Map()));
  users.set(socket, data.json);
  data.room = roomId;
  socket.subscribe(roomId);
  const roster = Array.from(users.values()).join();
  socket.send(`{"type":"JoinedRoom","payload":{"room_id":"${roomId}","users":[${roster}]}}`);
  if (announceJoins) socket.publish(roomId, `{"type":"UserJoined","payload":{"user":${data.json}}}`);
}

function leave(socket) {
  const { room, userId } = socket.data;
  if (room === null) return;
  const users = rooms.get(room);
  users.delete(socket);
  if (users.size === 0) rooms.delete(room);
  // A socket that has closed has no subscriptions, and cannot publish.
  if (socket.readyState === WebSocket.OPEN) socket.unsubscribe(room);
  if (announceJoins) server.publish(room, encode('UserLeft', { user_id: userId }));
  socket.data.room = null;
}

function handle(socket, { type, payload }) {
  const { room, userId, username } = socket.data;
  switch (type) {
    case 'CursorMove':
      if (room !== null) {
        const { x, y, element_id = null } = payload;
        socket.publish(room, encode('CursorUpdate', { user_id: userId, x, y, element_id })); // not to itself
      }
      break;
    case 'Chat':
      if (room !== null) {
        const timestamp = Math.floor(Date.now() / 1000);
        server.publish(room, encode('Chat', { user_id: userId, username, content: payload.content, timestamp }));
      }
      break;
    case 'JoinRoom':
      join(socket, payload.room_id);
      break;
    case 'Ping':
      socket.send('{"type":"Pong"}');
      break;
  }
}

const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(options.port),
  development: false,
  fetch(request, server) {
    const url = new URL(request.url);
    if (url.pathname !== '/ws') return new Response(null, { status: 404 });
    const userId = randomUUID();
    const username = url.searchParams.get('username') ?? 'User';
    const json = JSON.stringify({ user_id: userId, username, avatar_url: null, cursor: null });
    if (server.upgrade(request, { data: { userId, username, json, room: null } })) return undefined;
    return new Response(null, { status: 426 });
  },
  websocket: {
    maxPayloadLength: 65536,
    open(socket) {
      const { userId } = socket.data;
      socket.send(encode('Welcome', { connection_id: randomUUID(), user_id: userId, server_time: Date.now() }));
    },
    message(socket, text) {
      handle(socket, JSON.parse(text));
    },
    close(socket) {
      leave(socket);
    },
  },
});
