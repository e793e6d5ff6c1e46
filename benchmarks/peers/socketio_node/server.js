// A room server on Socket.IO 4 with its rooms, WebSocket transport only, tuned as its documentation advises.
'use strict';

const { randomUUID } = require('node:crypto');
const { createServer } = require('node:http');
const { parseArgs } = require('node:util');
const { Server } = require('socket.io');

const { values: options } = parseArgs({
  options: { port: { type: 'string' }, 'quiet-joins': { type: 'boolean', default: false } },
});
const announceJoins = !options['quiet-joins'];
const rooms = new Map();

const httpServer = createServer();
const io = new Server(httpServer, {
  transports: ['websocket'],
  serveClient: false,
  perMessageDeflate: false,
  maxHttpBufferSize: 65536,
});
io.engine.on('connection', (rawSocket) => {
  rawSocket.username = new URL(rawSocket.request.url, 'http://localhost').searchParams.get('username') ?? 'User';
  rawSocket.request = null; // "Memory usage": discard the initial HTTP request
});

function leave(socket) {
  const { roomId, user } = socket.data;
  if (roomId === null) return;
  socket.data.roomId = null;
  socket.leave(roomId);
  const room = rooms.get(roomId);
  room.delete(socket);
  if (room.size === 0) rooms.delete(roomId);
  else if (announceJoins) io.to(roomId).emit('UserLeft', { user_id: user.user_id });
}

io.on('connection', (socket) => {
  const { username } = socket.conn;
  const user = { user_id: randomUUID(), username, avatar_url: null, cursor: null };
  socket.data = { user, roomId: null };

  socket.on('JoinRoom', ({ room_id }) => {
    leave(socket);
    socket.join(room_id);
    socket.data.roomId = room_id;
    let room = rooms.get(room_id);
    if (room === undefined) rooms.set(room_id, (room = new Set()));
    room.add(socket);
    socket.emit('JoinedRoom', { room_id, users: Array.from(room, (member) => member.data.user) });
    if (announceJoins) socket.to(room_id).emit('UserJoined', { user });
  });

  socket.on('Chat', ({ content }) => {
    const { roomId } = socket.data;
    if (roomId === null) return;
    const timestamp = Math.floor(Date.now() / 1000);
    io.to(roomId).emit('Chat', { user_id: user.user_id, username, content, timestamp });
  });

  socket.on('CursorMove', ({ x, y, element_id = null }) => {
    const { roomId } = socket.data;
    if (roomId !== null) socket.to(roomId).emit('CursorUpdate', { user_id: user.user_id, x, y, element_id });
  });

  socket.on('disconnect', () => leave(socket));
});

httpServer.listen({ host: '127.0.0.1', port: Number(options.port), backlog: 1024 });
