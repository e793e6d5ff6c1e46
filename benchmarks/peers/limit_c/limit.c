/* The limit of a machine: a room server that does nothing but what every room server has to do.
 *
 * One thread and one epoll loop. It reads, finds the frames, writes each message once for a room, and sends every
 * member the messages of a turn of the loop in one system call. It checks nothing: no origin, no length, no JSON, no
 * UTF-8, no rate. It stores nothing and announces no joins. It speaks the dialect `room` as far as cursors need it, and
 * passes chat on as it does cursors, also to its author.
 *
 * --collect MS: turns begin at least this many milliseconds apart. With 0, each begins as soon as a socket is readable.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 4096, BUFFER = 1 << 20, BUCKETS = 1 << 14, ROOM_ID = 36, USER_ID = 36, PIECES = 1024 };

struct piece { /* of a batch: a message that its author does not get */
  size_t begin, end;
  int next; /* of the same author, or -1 */
};

struct room {
  char id[ROOM_ID];
  struct room *next_of_bucket, *next_waiting;
  struct connection **members;
  int member_count, member_space;
  char *batch;
  size_t batch_size, batch_space;
  struct piece *pieces;
  int piece_count, piece_space;
  bool waiting;
};

struct connection {
  int fd;
  int place; /* among the members of its room */
  int first_piece, last_piece;
  bool upgraded;
  uint32_t user;
  struct room *room;
  char *rest; /* of a frame that is not complete yet */
  size_t rest_size;
  char *unsent;
  size_t unsent_size;
};

static struct room *buckets[BUCKETS], *waiting;
static int epoll;
static uint32_t users;
static char buffer[BUFFER];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void *grown(void *array, int *space, int wanted, size_t size) {
  if (wanted <= *space) return array;
  *space = wanted * 2;
  array = realloc(array, (size_t)*space * size);
  if (!array) die("realloc");
  return array;
}

/* --- handshakes --------------------------------------------------------------------------------------- */

static uint32_t rotated(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

/* SHA-1 (RFC 3174) of a text of fewer than 112 bytes. */
static void sha1(const char *text, size_t size, uint8_t digest[20]) {
  uint8_t blocks[128] = {0};
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  size_t total = size < 56 ? 64 : 128;
  memcpy(blocks, text, size);
  blocks[size] = 0x80;
  blocks[total - 2] = (uint8_t)(size * 8 >> 8);
  blocks[total - 1] = (uint8_t)(size * 8);
  for (size_t block = 0; block < total; block += 64) {
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++) {
      const uint8_t *at = blocks + block + i * 4;
      w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    }
    for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
      uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                   : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                   : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                            : (b ^ c ^ d) + 0xca62c1d6;
      uint32_t next = rotated(a, 5) + f + e + w[i];
      e = d;
      d = c;
      c = rotated(b, 30);
      b = a;
      a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
  }
  for (int i = 0; i < 20; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - i % 4 * 8));
}

/* The answer to a key of 24 characters, in base64. */
static void accepted(const char *key, char answer[29]) {
  static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char text[24 + 36];
  uint8_t digest[21] = {0};
  memcpy(text, key, 24);
  memcpy(text + 24, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 36);
  sha1(text, sizeof text, digest);
  for (int i = 0; i < 7; i++) {
    uint32_t bits = (uint32_t)digest[i * 3] << 16 | (uint32_t)digest[i * 3 + 1] << 8 | digest[i * 3 + 2];
    for (int j = 0; j < 4; j++) answer[i * 4 + j] = ALPHABET[bits >> (18 - j * 6) & 63];
  }
  answer[27] = '=';
  answer[28] = 0;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static void watch(struct connection *connection) {
  struct epoll_event event = {.events = EPOLLIN | (connection->unsent_size ? EPOLLOUT : 0), .data.ptr = connection};
  epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static void keep_unsent(struct connection *connection, const char *data, size_t size) {
  bool first = !connection->unsent_size;
  connection->unsent = realloc(connection->unsent, connection->unsent_size + size);
  if (!connection->unsent) die("realloc");
  memcpy(connection->unsent + connection->unsent_size, data, size);
  connection->unsent_size += size;
  if (first) watch(connection);
}

/* A connection that is gone is noticed when it is read. */
static void put(struct connection *connection, struct iovec *parts, int count) {
  ssize_t done = 0;
  if (!connection->unsent_size) {
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    done = count == 1 ? send(connection->fd, parts->iov_base, parts->iov_len, MSG_NOSIGNAL)
                      : sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    if (done < 0 && errno != EAGAIN) return;
    if (done < 0) done = 0;
  }
  for (int i = 0; i < count; i++) {
    size_t size = parts[i].iov_len, skipped = (size_t)done < size ? (size_t)done : size;
    done -= (ssize_t)skipped;
    if (skipped < size) keep_unsent(connection, (char *)parts[i].iov_base + skipped, size - skipped);
  }
}

static void put_unsent(struct connection *connection) {
  ssize_t done = send(connection->fd, connection->unsent, connection->unsent_size, MSG_NOSIGNAL);
  if (done <= 0) return;
  connection->unsent_size -= (size_t)done;
  memmove(connection->unsent, connection->unsent + done, connection->unsent_size);
  if (connection->unsent_size) return;
  free(connection->unsent);
  connection->unsent = NULL;
  watch(connection);
}

static size_t write_head(char *at, int opcode, size_t size) {
  at[0] = (char)(0x80 | opcode);
  if (size < 126) {
    at[1] = (char)size;
    return 2;
  }
  at[1] = 126;
  at[2] = (char)(size >> 8);
  at[3] = (char)size;
  return 4;
}

static void put_frame(struct connection *connection, int opcode, const char *payload, size_t size) {
  char head[4];
  struct iovec parts[] = {{head, write_head(head, opcode, size)}, {(char *)payload, size}};
  put(connection, parts, 2);
}

/* --- rooms -------------------------------------------------------------------------------------------- */

static struct room *room_of(const char *id) {
  uint64_t hash = 1469598103934665603ULL; /* FNV-1a */
  for (int i = 0; i < ROOM_ID; i++) hash = (hash ^ (uint8_t)id[i]) * 1099511628211ULL;
  struct room **at = &buckets[hash % BUCKETS];
  for (struct room *room = *at; room; room = room->next_of_bucket)
    if (!memcmp(room->id, id, ROOM_ID)) return room;
  struct room *room = calloc(1, sizeof *room);
  if (!room) die("calloc");
  memcpy(room->id, id, ROOM_ID);
  room->next_of_bucket = *at;
  return *at = room;
}

static int name_user(char *text, uint32_t user) { return sprintf(text, "%08x-0000-4000-8000-000000000000", user); }

static void leave(struct connection *connection) {
  struct room *room = connection->room;
  if (!room) return;
  struct connection *last = room->members[--room->member_count];
  room->members[connection->place] = last;
  last->place = connection->place;
  connection->room = NULL;
}

static void join(struct connection *connection, const char *id) {
  char text[128];
  leave(connection);
  struct room *room = connection->room = room_of(id);
  room->members = grown(room->members, &room->member_space, room->member_count + 1, sizeof *room->members);
  connection->place = room->member_count;
  connection->first_piece = -1;
  room->members[room->member_count++] = connection;
  int size = sprintf(text, "{\"type\":\"JoinedRoom\",\"payload\":{\"room_id\":\"%.36s\",\"users\":[]}}", id);
  put_frame(connection, 1, text, (size_t)size);
}

/* Add a message to what the room sends next. `payload` begins after its brace. */
static void add(struct connection *author, const char *type, bool to_author, const char *payload, size_t size) {
  struct room *room = author->room;
  if (!room) return;
  char start[128], user[USER_ID + 1];
  name_user(user, author->user);
  int start_size = sprintf(start, "{\"type\":\"%s\",\"payload\":{\"user_id\":\"%s\",", type, user);
  size_t total = (size_t)start_size + size, begin = room->batch_size;
  if (begin + total + 4 > room->batch_space) {
    room->batch_space = (begin + total + 4) * 2;
    room->batch = realloc(room->batch, room->batch_space);
    if (!room->batch) die("realloc");
  }
  char *at = room->batch + begin;
  at += write_head(at, 1, total);
  memcpy(at, start, (size_t)start_size);
  memcpy(at + start_size, payload, size);
  room->batch_size = (size_t)(at - room->batch) + total;
  if (!to_author) {
    int number = room->piece_count++;
    room->pieces = grown(room->pieces, &room->piece_space, room->piece_count, sizeof *room->pieces);
    room->pieces[number] = (struct piece){begin, room->batch_size, -1};
    if (author->first_piece < 0) author->first_piece = number;
    else room->pieces[author->last_piece].next = number;
    author->last_piece = number;
  }
  if (!room->waiting) {
    room->waiting = true;
    room->next_waiting = waiting;
    waiting = room;
  }
}

static void send_batch(struct room *room, struct connection *member) {
  struct iovec parts[PIECES];
  int count = 0;
  size_t at = 0;
  for (int i = member->first_piece; i >= 0 && i < room->piece_count; i = room->pieces[i].next) {
    if (room->pieces[i].begin > at) parts[count++] = (struct iovec){room->batch + at, room->pieces[i].begin - at};
    at = room->pieces[i].end;
    if (count == PIECES - 1) {
      put(member, parts, count);
      count = 0;
    }
  }
  if (room->batch_size > at) parts[count++] = (struct iovec){room->batch + at, room->batch_size - at};
  if (count) put(member, parts, count);
  member->first_piece = -1;
}

static void send_batches(void) {
  for (struct room *room = waiting; room; room = room->next_waiting) {
    for (int i = 0; i < room->member_count; i++) send_batch(room, room->members[i]);
    room->batch_size = 0;
    room->piece_count = 0;
    room->waiting = false;
  }
  waiting = NULL;
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static void end(struct connection *connection) {
  leave(connection);
  close(connection->fd);
  free(connection->rest);
  free(connection->unsent);
  free(connection);
}

static void take_message(struct connection *connection, const char *text, size_t size) {
  const char *type = memchr(text, ':', size);
  const char *payload = memmem(text, size, "\"payload\"", 9);
  if (!type) return;
  type += type[1] == ' ' ? 3 : 2;
  if (*type == 'P') {
    put_frame(connection, 1, "{\"type\":\"Pong\"}", 15);
    return;
  }
  if (!payload || !(payload = memchr(payload, '{', size - (size_t)(payload - text)))) return;
  payload++;
  size_t left = size - (size_t)(payload - text);
  if (*type == 'J') {
    const char *id = memchr(payload, ':', left);
    if (id) join(connection, id + (id[1] == ' ' ? 3 : 2));
  } else if (type[1] == 'u') {
    add(connection, "CursorUpdate", false, payload, left);
  } else if (type[1] == 'h') {
    add(connection, "Chat", true, payload, left);
  }
}

static void unmask(char *data, size_t size, const char *mask) {
  uint32_t word;
  memcpy(&word, mask, 4);
  uint64_t twice = (uint64_t)word << 32 | word, eight;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    memcpy(&eight, data + at, 8);
    eight ^= twice;
    memcpy(data + at, &eight, 8);
  }
  for (; at < size; at++) data[at] = (char)(data[at] ^ mask[at & 3]);
}

/* Return how many bytes were whole frames, or -1 if the client closes. */
static ssize_t take_frames(struct connection *connection, char *data, size_t size) {
  size_t at = 0;
  while (size - at >= 6) {
    uint8_t *head = (uint8_t *)data + at;
    size_t length = head[1] & 127, start = 6;
    if (length == 126) {
      if (size - at < 8) break;
      length = (size_t)head[2] << 8 | head[3];
      start = 8;
    }
    if (size - at < start + length) break;
    char *payload = data + at + start;
    unmask(payload, length, payload - 4);
    int opcode = head[0] & 15;
    if (opcode == 1) take_message(connection, payload, length);
    else if (opcode == 9) put_frame(connection, 10, payload, length);
    else if (opcode == 8) {
      put_frame(connection, 8, payload, length);
      return -1;
    }
    at += start + length;
  }
  return (ssize_t)at;
}

/* Return how many bytes the head took, or -1 if it is no upgrade. */
static ssize_t take_head(struct connection *connection, const char *data, size_t size) {
  char text[256], user[USER_ID + 1], answer[29];
  const char *head_end = memmem(data, size, "\r\n\r\n", 4);
  if (!head_end) return 0;
  size_t head = (size_t)(head_end - data) + 4;
  const char *key = memmem(data, head, "Sec-WebSocket-Key: ", 19);
  if (!key) return -1;
  accepted(key + 19, answer);
  connection->upgraded = true;
  int length = sprintf(text,
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: %s\r\n\r\n",
                       answer);
  struct iovec part = {text, (size_t)length};
  put(connection, &part, 1);
  name_user(user, connection->user);
  length = sprintf(text, "{\"type\":\"Welcome\",\"payload\":{\"user_id\":\"%s\"}}", user);
  put_frame(connection, 1, text, (size_t)length);
  return (ssize_t)head;
}

static void receive(struct connection *connection) {
  size_t kept = connection->rest_size;
  if (kept) memcpy(buffer, connection->rest, kept);
  ssize_t got = recv(connection->fd, buffer + kept, BUFFER - kept, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    end(connection);
    return;
  }
  size_t size = kept + (size_t)got;
  ssize_t done = 0, more = 0;
  if (!connection->upgraded) done = take_head(connection, buffer, size);
  if (done >= 0 && connection->upgraded) more = take_frames(connection, buffer + done, size - (size_t)done);
  if (done < 0 || more < 0) {
    end(connection);
    return;
  }
  size -= (size_t)(done + more);
  connection->rest_size = size;
  if (size) {
    connection->rest = realloc(connection->rest, size);
    memcpy(connection->rest, buffer + done + more, size);
  } else if (connection->rest) {
    free(connection->rest);
    connection->rest = NULL;
  }
}

/* --- the loop ----------------------------------------------------------------------------------------- */

static void accept_all(int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    struct connection *connection = calloc(1, sizeof *connection);
    if (!connection) die("calloc");
    *connection = (struct connection){.fd = fd, .user = ++users, .first_piece = -1};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
}

static int listening(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted sockets inherit it */
  struct sockaddr_in at = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
  if (bind(fd, (struct sockaddr *)&at, sizeof at)) die("bind");
  if (listen(fd, 4096)) die("listen");
  return fd;
}

/* Sleep until this long after `last`. */
static void collect(struct timespec last, long nanoseconds) {
  last.tv_nsec += nanoseconds;
  last.tv_sec += last.tv_nsec / 1000000000;
  last.tv_nsec %= 1000000000;
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &last, NULL); /* returns at once if that has passed */
}

int main(int count, char **words) {
  static struct epoll_event events[EVENTS];
  int port = 0;
  double collect_ms = 0;
  for (int i = 1; i + 1 < count; i += 2) {
    if (!strcmp(words[i], "--port")) port = atoi(words[i + 1]);
    if (!strcmp(words[i], "--collect")) collect_ms = atof(words[i + 1]);
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  epoll = epoll_create1(0);
  int listener = listening(port);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  struct timespec last = {0};
  for (;;) {
    if (collect_ms > 0) collect(last, (long)(collect_ms * 1e6));
    int ready = epoll_wait(epoll, events, EVENTS, -1);
    if (collect_ms > 0) clock_gettime(CLOCK_MONOTONIC, &last);
    for (int i = 0; i < ready; i++) {
      struct connection *connection = events[i].data.ptr;
      if (!connection) {
        accept_all(listener);
        continue;
      }
      if (events[i].events & EPOLLOUT && connection->unsent_size) put_unsent(connection);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
    }
    send_batches();
  }
}
