// A room server on `ws`: no compression, no client tracking, each message encoded once for the whole room.
'use strict';

const { randomUUID } = require('node:crypto');
const { parseArgs } = require('node:util');
const { WebSocketServer } = require('ws');

const { values: options } = parseArgs({
  options: { port: { type: 'string' }, 'quiet-joins': { type: 'boolean', default: false } },
});
const announceJoins = !options['quiet-joins'];
const rooms = new Map();

const encode = (type, payload) => Buffer.from(JSON.stringify({ type, payload }));
const send = (socket, type, payload) => socket.send(encode(type, payload), { binary: false });

function tell(room, data, except) {
  for (const member of room) {
    if (member !== except) member.send(data, { binary: false });
  }
}

function join(socket, roomId) {
  leave(socket);
  let room = rooms.get(roomId);
  if (room === undefined) rooms.set(roomId, (room = new Set()));
  room.add(socket);
  socket.room = room;
  socket.roomId = roomId;
  send(socket, 'JoinedRoom', { room_id: roomId, users: Array.from(room, (member) => member.user) });
  if (announceJoins) tell(room, encode('UserJoined', { user: socket.user }), socket);
}

function leave(socket) {
  const room = socket.room;
  if (room === null) return;
  room.delete(socket);
  socket.room = null;
  if (room.size === 0) rooms.delete(socket.roomId);
  else if (announceJoins) tell(room, encode('UserLeft', { user_id: socket.user.user_id }), socket);
}

function handle(socket, { type, payload }) {
  const { user, room } = socket;
  switch (type) {
    case 'CursorMove':
      if (room !== null) {
        const { x, y, element_id = null } = payload;
        tell(room, encode('CursorUpdate', { user_id: user.user_id, x, y, element_id }), socket);
      }
      break;
    case 'Chat':
      if (room !== null) {
        const timestamp = Math.floor(Date.now() / 1000);
        const { user_id, username } = user;
        tell(room, encode('Chat', { user_id, username, content: payload.content, timestamp }), null);
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

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(options.port),
  path: '/ws',
  backlog: 1024,
  perMessageDeflate: false,
  clientTracking: false,
  maxPayload: 65536,
});

server.on('connection', (socket, request) => {
  const username = new URL(request.url, 'http://localhost').searchParams.get('username') ?? 'User';
  socket.user = { user_id: randomUUID(), username, avatar_url: null, cursor: null };
  socket.room = null;
  socket.on('message', (data) => handle(socket, JSON.parse(data)));
  socket.on('close', () => leave(socket));
  socket.on('error', () => socket.terminate());
  send(socket, 'Welcome', { connection_id: randomUUID(), user_id: socket.user.user_id, server_time: Date.now() });
});
