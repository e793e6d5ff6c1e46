/* The load generator: many WebSocket clients in one process, or in one for each of --cores, so that it is not what is
 * measured. Each process has a share of the clients, and the first one measures.
 *
 * Every message carries a mark, ~<Unix-less microseconds>.<sender>.<number>~ and a filler. Each receiver checks of each
 * mark that its filler is whole, that the sender is of its own room, and that the sender's numbers rise; at the end the
 * last number of every sender must have come. Whatever stands around the mark is the dialect of the server.
 *
 * One JSON object on standard output; what went wrong on the way is on standard error. Times are microseconds of
 * CLOCK_MONOTONIC, CPU is user + system seconds of the named processes within the measured window.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "link.h"
#include "measuring.h"
#include "process.h"

enum { MARK = 33, FILLER = 16, BUFFER = 8 << 20, PORTS = 64, CORES = 16, PHASES = 8 };
enum dialect { ROOM, SOCKETIO, CENTRIFUGO, NCHAN, NATS };
enum stage { UNUSED, CONNECTING, UPGRADING, OPEN, JOINED, ENDED };

static const char *DIALECTS[] = {"room", "socketio", "centrifugo", "nchan", "nats"};
static const char FILLING[FILLER + 1] = "0123456789abcdef";

struct connection {
  struct link link;
  enum stage stage;
  int room, member;
  bool stalled, joins_again;
  uint32_t known; /* members it has been told of */
};

static struct options {
  enum dialect dialect;
  int ports[PORTS], port_count;
  int rooms, members, senders, stalled, connections, quiet; /* of the rooms, the last `quiet` say one thing and then rest */
  double rate, warmup, seconds, settle, rest, joins_per_second, timeout;
  bool chat, idle, storm, sender_hears, own_cursors, reconnect, hint;
  int cores[CORES], core_count;
} options;

static struct connection *connections;
static uint32_t *newest;   /* [connection][sender]: the last number seen */
static uint32_t *last_sent; /* [connection]: the number of its last message; all processes share it */
static int me;             /* which process this is: it has the clients whose index leaves this rest */
static int opening, open_count, joined_count, ended_count;
static char buffer[BUFFER];
static uint32_t epoch_tag;

static struct count {
  uint64_t sent, received, disordered, foreign, broken, unexpected_ends, refused;
  uint64_t bytes, reads, late, missing, known;
  uint64_t bins[BINS];
  double own_cpu;
  bool on;
} count;

static struct {
  struct count counts[CORES];
  _Atomic int arrived[PHASES];
  _Atomic uint64_t begin;
} *shared;

/* --- small things ------------------------------------------------------------------------------------- */

static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  if (me) kill(getppid(), SIGTERM);
  exit(1);
}

/* Let clients of this process be served by it alone. */
static bool mine(int index) { return index % options.core_count == me; }

static double quantile(double q) { return quantile_of(count.bins, q); }

static void room_name(int room, char *name) {
  sprintf(name, "%08x-0000-4000-8000-%012x", epoch_tag, (unsigned)room);
}

/* --- sending ------------------------------------------------------------------------------------------ */

static void end(struct connection *connection) {
  if (connection->stage == ENDED) return;
  close_link(&connection->link);
  connection->stage = ENDED;
  ended_count++;
}

static void put_text(struct connection *connection, const char *format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  int size = vsnprintf(text, sizeof text, format, arguments);
  put_frame(&connection->link, options.dialect == NATS ? 2 : 1, text, (size_t)size);
}

static void say(struct connection *connection, uint64_t now) {
  char mark[MARK + FILLER + 9], room[40], body[256];
  int sender = connection->room * options.members + connection->member;
  uint32_t seq = ++last_sent[connection - connections];
  snprintf(mark, sizeof mark, "~%016llu.%05d.%08u~%s", (unsigned long long)now, sender % 100000, seq % 100000000, FILLING);
  double x = 1 + seq % 1900, y = 1 + sender % 1000;
  if (count.on) count.sent++;
  int size;
  if (options.chat)
    size = snprintf(body, sizeof body, "{\"content\":\"%s%-19s\"}", mark, "");
  else
    size = snprintf(body, sizeof body, "{\"x\":%.1f,\"y\":%.1f,\"element_id\":\"%s\"}", x, y, mark);
  const char *type = options.chat ? "Chat" : "CursorMove";
  room_name(connection->room, room);
  switch (options.dialect) {
    case ROOM:
    case NCHAN:
      put_text(connection, "{\"type\":\"%s\",\"payload\":%s}", type, body);
      break;
    case SOCKETIO:
      put_text(connection, "42[\"%s\",%s]", type, body);
      break;
    case CENTRIFUGO:
      put_text(connection, "{\"id\":%u,\"publish\":{\"channel\":\"%s\",\"data\":{\"type\":\"%s\",\"payload\":%s}}}",
               seq + 10, room, type, body);
      break;
    case NATS:
      put_text(connection, "PUB room.%s %d\r\n{\"type\":\"%s\",\"payload\":%s}\r\n", room,
               size + (int)strlen(type) + 22, type, body);
      break;
  }
}

static void join(struct connection *connection) {
  char room[40];
  room_name(connection->room, room);
  switch (options.dialect) {
    case ROOM:
      put_text(connection, "{\"type\":\"JoinRoom\",\"payload\":{\"room_id\":\"%s\"}}", room);
      break;
    case SOCKETIO:
      put_text(connection, "42[\"JoinRoom\",{\"room_id\":\"%s\"}]", room);
      break;
    case CENTRIFUGO:
      put_text(connection, "{\"id\":2,\"subscribe\":{\"channel\":\"%s\"}}", room);
      break;
    case NATS:
      put_text(connection, "SUB room.%s 1\r\nPING\r\n", room);
      break;
    case NCHAN:
      break;
  }
}

static void join_unless_timed(struct connection *connection) {
  if (!options.idle && !options.storm) join(connection);
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static bool has(const char *text, size_t size, const char *word) {
  return memmem(text, size, word, strlen(word)) != NULL;
}

static uint32_t occurrences(const char *text, size_t size, const char *word) {
  uint32_t found = 0;
  size_t length = strlen(word);
  const char *end = text + size;
  while ((text = memmem(text, (size_t)(end - text), word, length))) {
    found++;
    text += length;
  }
  return found;
}

static uint64_t number(const char *digits, int size) {
  uint64_t value = 0;
  while (size--) value = value * 10 + (uint64_t)(*digits++ - '0');
  return value;
}

static void take_mark(struct connection *connection, const char *mark, uint64_t now) {
  uint64_t stamp = number(mark + 1, 16);
  int sender = (int)number(mark + 18, 5);
  uint32_t seq = (uint32_t)number(mark + 24, 8);
  if (memcmp(mark + MARK, FILLING, FILLER)) count.broken++;
  int first = connection->room * options.members % 100000;
  int member = sender - first;
  if (member < 0 || member >= options.members) {
    count.foreign++;
    return;
  }
  uint32_t *last = &newest[((size_t)connection->room * (size_t)options.members + (size_t)connection->member) *
                               (size_t)options.members + (size_t)member];
  if (seq <= *last) count.disordered++;
  *last = seq;
  if (!options.sender_hears && member == connection->member) {
    count.foreign += options.dialect == ROOM && !options.chat && !options.own_cursors;
    return; /* some servers send what one said back to oneself: not a delivery */
  }
  if (count.on) {
    count.received++;
    count.bins[bin_of(now > stamp ? now - stamp : 0)]++;
  }
}

static void take_marks(struct connection *connection, const char *text, size_t size, uint64_t now) {
  const char *end = text + size;
  while (end - text >= MARK + FILLER && (text = memchr(text, '~', (size_t)(end - text)))) {
    if (end - text >= MARK + FILLER && text[17] == '.' && text[23] == '.' && text[MARK - 1] == '~') {
      take_mark(connection, text, now);
      text += MARK + FILLER;
    } else {
      text++;
    }
  }
}

static void become_joined(struct connection *connection) {
  if (connection->stage == JOINED) return;
  connection->stage = JOINED;
  joined_count++;
  if (connection->stalled) {
    connection->link.deaf = true;
    watch(&connection->link);
  }
}

static void become_open(struct connection *connection) {
  connection->stage = OPEN;
  opening--;
  open_count++;
  if (options.dialect == NCHAN) become_joined(connection);
}

/* What comes before the room is joined, and notices of joins. */
static void take_other(struct connection *connection, const char *text, size_t size) {
  switch (options.dialect) {
    case ROOM:
      if (size > 22 && !memcmp(text, "{\"type\":\"JoinedRoom\"", 20)) {
        connection->known += occurrences(text, size, "\"user_id\":");
        become_joined(connection);
      } else if (size > 22 && !memcmp(text, "{\"type\":\"UserJoined\"", 20)) {
        connection->known++;
      } else if (size > 22 && !memcmp(text, "{\"type\":\"Error\"", 15)) {
        if (connection->stage == OPEN && (has(text, size, "_unavailable\"") || has(text, size, "rate_limited")))
          connection->joins_again = true; /* as clients do */
        else if (!count.refused++) fprintf(stderr, "refused: %.*s\n", (int)size, text);
      }
      break;
    case SOCKETIO:
      if (text[0] == '0') {
        put_text(connection, "40");
      } else if (text[0] == '2') {
        put_text(connection, "3");
      } else if (size > 2 && text[0] == '4' && text[1] == '0') {
        join_unless_timed(connection);
      } else if (has(text, size < 64 ? size : 64, "\"JoinedRoom\"")) {
        connection->known += occurrences(text, size, "\"user_id\":");
        become_joined(connection);
      } else if (has(text, size < 64 ? size : 64, "\"UserJoined\"")) {
        connection->known++;
      }
      break;
    case CENTRIFUGO:
      if (connection->stage != JOINED) {
        if (has(text, size, "\"subscribe\":")) {
          become_joined(connection);
          if (options.storm) {
            char room[40];
            room_name(connection->room, room);
            put_text(connection, "{\"id\":4,\"presence\":{\"channel\":\"%s\"}}", room);
          }
        } else if (has(text, size, "\"connect\":")) {
          join_unless_timed(connection);
        } else if (has(text, size, "\"error\":") && !count.refused++) {
          fprintf(stderr, "refused: %.*s\n", (int)size, text);
        }
      }
      if (options.storm) {
        if (has(text, size, "\"presence\":")) connection->known += occurrences(text, size, "\"client\":");
        else connection->known += occurrences(text, size, "\"join\":");
      }
      break;
    case NATS:
      if (has(text, size, "PING\r\n") && !has(text, size, "MSG ")) put_text(connection, "PONG\r\n");
      if (connection->stage == OPEN) {
        if (has(text, size, "INFO ")) {
          put_text(connection, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false,\"no_responders\":false,\"headers\":false,\"lang\":\"bench\",\"version\":\"1\",\"protocol\":1}\r\n");
          join_unless_timed(connection);
        } else if (has(text, size, "PONG")) {
          become_joined(connection);
        }
      }
      break;
    case NCHAN:
      break;
  }
}

static void take_frame(struct connection *connection, int opcode, const char *payload, size_t size, uint64_t now) {
  switch (opcode) {
    case 1:
    case 2:
    case 0:
      if (options.dialect == CENTRIFUGO && size < 4) put_text(connection, "{}"); /* a ping */
      else if (connection->stage != JOINED || options.storm) take_other(connection, payload, size);
      else if (options.dialect == SOCKETIO && payload[0] == '2') put_text(connection, "3");
      else if (options.dialect == NATS && size < 64 && has(payload, size, "PING")) put_text(connection, "PONG\r\n");
      take_marks(connection, payload, size, now);
      break;
    case 8:
      count.unexpected_ends++;
      if (count.unexpected_ends == 1 && size >= 2)
        fprintf(stderr, "closed with %d %.*s\n", (uint8_t)payload[0] << 8 | (uint8_t)payload[1], (int)size - 2, payload + 2);
      end(connection);
      break;
    case 9:
      put_frame(&connection->link, 10, payload, size);
      break;
  }
}

/* How many bytes were whole frames. */
static size_t take_frames(struct connection *connection, const char *data, size_t size, uint64_t now) {
  struct frame frame;
  size_t at = 0;
  for (size_t length; connection->stage != ENDED && (length = read_frame(data + at, size - at, &frame)); at += length)
    take_frame(connection, frame.opcode, frame.payload, frame.size, now);
  return at;
}

static void receive(struct connection *connection) {
  size_t kept = connection->link.rest_size;
  if (kept) memcpy(buffer, connection->link.rest, kept);
  ssize_t got = recv(connection->link.fd, buffer + kept, BUFFER - kept, 0);
  if (got <= 0) {
    if (got < 0 && errno == EAGAIN) return;
    count.unexpected_ends++;
    end(connection);
    return;
  }
  count.reads++;
  count.bytes += (size_t)got;
  uint64_t now = now_us();
  size_t size = kept + (size_t)got, done = 0;
  if (connection->stage == UPGRADING) {
    done = read_upgrade(buffer, size);
    if (done) {
      become_open(connection);
      if (options.dialect == ROOM) join_unless_timed(connection);
      if (options.dialect == CENTRIFUGO) put_text(connection, "{\"id\":1,\"connect\":{}}");
    }
  }
  if (connection->stage == OPEN || connection->stage == JOINED)
    done += take_frames(connection, buffer + done, size - done, now);
  if (connection->stage == ENDED) return;
  keep_rest(&connection->link, buffer + done, size - done);
}

/* --- connecting --------------------------------------------------------------------------------------- */

/* With hints, all members of a room agree on a port: the one with the highest hash of room and port (rendezvous). */
static int port_of(int index) {
  if (!options.hint) return options.ports[index % options.port_count];
  uint64_t highest = 0;
  int chosen = 0;
  for (int i = 0; i < options.port_count; i++) {
    uint64_t hash = (uint64_t)connections[index].room << 32 | (uint32_t)i;
    for (int round = 0; round < 2; round++) { /* the finalizer of SplitMix64 */
      hash += 0x9e3779b97f4a7c15;
      hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
      hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
      hash ^= hash >> 31;
    }
    if (hash >= highest) {
      highest = hash;
      chosen = i;
    }
  }
  return options.ports[chosen];
}

static void dial(int index) {
  struct link *link = &connections[index].link;
  open_socket(link);
  int one = 1;
  setsockopt(link->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + (uint32_t)index / 10000)};
  if (bind(link->fd, (struct sockaddr *)&from, sizeof from)) die("bind: %s", strerror(errno));
  connect_to(link, port_of(index));
  connections[index].stage = CONNECTING;
  opening++;
}

static void upgrade(struct connection *connection) {
  char path[160], room[40];
  room_name(connection->room, room);
  switch (options.dialect) {
    case ROOM:
      snprintf(path, sizeof path, "/ws?username=u%d%s%s", (int)(connection - connections), options.hint ? "&room=" : "",
               options.hint ? room : "");
      break;
    case SOCKETIO: strcpy(path, "/socket.io/?EIO=4&transport=websocket"); break;
    case CENTRIFUGO: strcpy(path, "/connection/websocket"); break;
    case NCHAN: snprintf(path, sizeof path, "/ws/%s", room); break;
    case NATS: strcpy(path, "/"); break;
  }
  connection->stage = UPGRADING;
  ask_for_upgrade(&connection->link, path, options.ports[0]);
}

static void ready(struct link *link, uint32_t events) {
  struct connection *connection = (struct connection *)link;
  if (connection->stage == ENDED) return;
  if (events & EPOLLOUT) {
    if (connection->stage == CONNECTING) upgrade(connection);
    else if (link->unsent_size) put_rest(link);
  }
  if (connection->stage != ENDED && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
}

/* How many clients this process has. */
static int share_of(int total) { return (total - me + options.core_count - 1) / options.core_count; }

/* Wait until all processes have come to this phase. */
static void meet(int phase) {
  shared->arrived[phase]++;
  while (shared->arrived[phase] < options.core_count) turn(2000);
}

static void open_all(int total, bool joined) {
  uint64_t deadline = now_us() + (uint64_t)(options.timeout * 1e6);
  uint64_t again = now_us() + 1000000;
  int next = me, wanted = share_of(total);
  while ((joined ? joined_count : open_count) < wanted) {
    for (; next < total && opening < 64 / options.core_count; next += options.core_count) dial(next);
    turn(2000);
    if (now_us() > again) { /* joins that were refused for a moment */
      again += 1000000;
      for (int i = me; i < next; i += options.core_count)
        if (connections[i].joins_again) {
          connections[i].joins_again = false;
          join(&connections[i]);
        }
    }
    if (now_us() > deadline) die("only %d of %d are open and %d joined, %llu refused", open_count, wanted, joined_count,
                                 (unsigned long long)count.refused);
    if (ended_count) die("a connection ended while others were opened");
  }
  meet(0);
}

/* --- what is measured --------------------------------------------------------------------------------- */

static void begin_window(void) {
  begin_cpu();
  count.on = true;
}

/* Give what this process has counted to the first one, which adds everything up. Returns false in the others. */
static bool gather(void) {
  if (!count.own_cpu) count.own_cpu = own_cpu_seconds();
  shared->counts[me] = count;
  meet(PHASES - 1);
  if (me) return false;
  for (int i = 1; i < options.core_count; i++) {
    uint64_t *into = (uint64_t *)&count, *from = (uint64_t *)&shared->counts[i];
    for (size_t field = 0; field < offsetof(struct count, own_cpu) / sizeof *into; field++) into[field] += from[field];
    if (shared->counts[i].own_cpu > count.own_cpu) count.own_cpu = shared->counts[i].own_cpu; /* the busiest */
  }
  return true;
}

static void traffic(void) {
  int total = options.rooms * options.members, senders = (options.rooms - options.quiet) * options.senders;
  open_all(total, true);
  for (int room = options.rooms - options.quiet; room < options.rooms; room++) {
    if (mine(room * options.members)) say(&connections[room * options.members], now_us());
    turn(500);
  }
  turn_for(options.settle);
  int *order = malloc(sizeof(int) * (size_t)senders);
  for (int i = 0; i < senders; i++) order[i] = i / options.senders * options.members + i % options.senders;
  shuffle(order, senders);
  if (!me) shared->begin = now_us() + 2000;
  meet(1);
  double step_us = 1e6 / (options.rate * senders);
  uint64_t began = shared->begin, warm = began + (uint64_t)(options.warmup * 1e6);
  uint64_t until = warm + (uint64_t)(options.seconds * 1e6), window_began = 0;
  for (uint64_t done = 0;;) {
    uint64_t now = now_us();
    if (now >= until) break;
    if (!count.on && now >= warm) {
      begin_window();
      window_began = now;
    }
    uint64_t due = now < began ? 0 : (uint64_t)((double)(now - began) / step_us);
    if (due > done + 20000) count.late = due - done;
    for (int burst = 0; done < due && burst < 256; done++) {
      int index = order[done % (uint64_t)senders];
      if (!mine(index) || connections[index].stage != JOINED) continue;
      say(&connections[index], now_us());
      burst++;
    }
    uint64_t next = began + (uint64_t)((double)(done + 1) * step_us);
    now = now_us();
    turn(done < due ? 0 : next > now + 200 ? (int)(next - now) : 200);
  }
  double window = (double)(now_us() - window_began) / 1e6;
  count.own_cpu = own_cpu_seconds();
  struct count seen = count;
  if (!me) {
    print_cpu();
    printf(",");
    print_resident("resident_kb");
  }
  count.on = false;
  turn_for(1.0);
  meet(2);
  for (int i = me; i < total; i += options.core_count)
    for (int member = 0; member < (i / options.members < options.rooms - options.quiet ? options.senders : 1); member++) {
      int from = i / options.members * options.members + member;
      if (connections[i].stalled || (from == i && !options.sender_hears)) continue;
      seen.missing += newest[(size_t)i * (size_t)options.members + (size_t)member] != last_sent[from];
    }
  seen.disordered = count.disordered, seen.foreign = count.foreign, seen.broken = count.broken;
  seen.unexpected_ends = count.unexpected_ends, seen.refused = count.refused;
  count = seen;
  if (!gather()) return;
  printf("\"seconds\":%.3f,\"sent\":%llu,\"received\":%llu,\"p50_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,\"behind\":%llu", window,
         (unsigned long long)count.sent, (unsigned long long)count.received, quantile(.5), quantile(.99), quantile(.999),
         (unsigned long long)count.late);
  printf(",\"missing_last\":%llu,\"reads\":%llu,\"bytes\":%llu", (unsigned long long)count.missing, (unsigned long long)count.reads,
         (unsigned long long)count.bytes);
}

static void idle(void) {
  if (!me) print_resident("resident_before_kb");
  begin_window();
  uint64_t began = now_us();
  open_all(options.connections, false);
  double took = (double)(now_us() - began) / 1e6;
  turn_for(options.settle);
  if (!me) print_resident("resident_kb");
  if (options.rest > 0) {
    begin_window();
    turn_for(options.rest);
  }
  if (!me) print_cpu();
  if (options.reconnect) { /* all go, properly */
    for (int i = me; i < options.connections; i += options.core_count) put_frame(&connections[i].link, 8, "\x03\xe8", 2);
    uint64_t deadline = now_us() + 30000000;
    while (ended_count < share_of(options.connections) && now_us() < deadline) turn(2000);
    count.unexpected_ends = 0;
    turn_for(options.settle);
    meet(1);
    if (!me) {
      printf(",");
      print_resident("resident_after_kb");
      printf("\"left\":true");
    }
  }
  if (gather()) printf(",\"connections\":%d,\"seconds\":%.3f", options.connections, took);
}

static void storm(void) {
  int total = options.members;
  open_all(total, false);
  turn_for(options.settle);
  if (!me) shared->begin = now_us() + 2000;
  meet(1);
  begin_window();
  uint64_t began = shared->begin, all_joined = 0, deadline = began + (uint64_t)(options.timeout * 1e6);
  int next = me, known = me;
  while (known < total && now_us() < deadline && !count.unexpected_ends) {
    uint64_t now = now_us();
    int due = now < began ? 0 : (int)((double)(now - began) * options.joins_per_second / 1e6);
    for (; next < total && next < due; next += options.core_count) join(&connections[next]);
    turn(next < total ? 500 : 2000);
    if (!all_joined && joined_count == share_of(total)) all_joined = now_us();
    while (known < total && connections[known].known >= (uint32_t)total) known += options.core_count;
  }
  for (int i = me; i < total; i += options.core_count) count.known += connections[i].known;
  count.missing = known < total;
  count.late = all_joined ? all_joined - began : 0; /* of one process; that of the first one is printed */
  uint64_t joined = count.late;
  meet(2);
  double seconds = (double)(now_us() - began) / 1e6;
  if (!me) print_cpu();
  if (!gather()) return;
  printf(",\"joined_seconds\":%.3f,\"seconds\":%.3f,\"complete\":%s,\"known\":%llu", joined ? (double)joined / 1e6 : -1, seconds,
         count.missing ? "false" : "true", (unsigned long long)count.known);
}

/* --- options ------------------------------------------------------------------------------------------ */

static void read_options(int count_, char **words) {
  options = (struct options){.rooms = 1, .members = 8, .senders = 1, .rate = 10, .warmup = 2, .seconds = 5, .settle = 1,
                             .joins_per_second = 2000, .timeout = 60};
  for (int i = 1; i + 1 < count_; i += 2) {
    char *name = words[i], *value = words[i + 1];
    double n = atof(value);
    if (!strcmp(name, "--dialect")) {
      for (int d = 0; d <= NATS; d++)
        if (!strcmp(value, DIALECTS[d])) options.dialect = (enum dialect)d;
    } else if (!strcmp(name, "--ports")) options.port_count = numbers(value, options.ports, PORTS);
    else if (!strcmp(name, "--pids")) measured.count = numbers(value, measured.pids, MAX_PIDS);
    else if (!strcmp(name, "--rooms")) options.rooms = (int)n;
    else if (!strcmp(name, "--members")) options.members = (int)n;
    else if (!strcmp(name, "--senders")) options.senders = (int)n;
    else if (!strcmp(name, "--stalled")) options.stalled = (int)n;
    else if (!strcmp(name, "--connections")) options.connections = (int)n;
    else if (!strcmp(name, "--quiet")) options.quiet = (int)n;
    else if (!strcmp(name, "--hint")) options.hint = n != 0;
    else if (!strcmp(name, "--rate")) options.rate = n;
    else if (!strcmp(name, "--warmup")) options.warmup = n;
    else if (!strcmp(name, "--seconds")) options.seconds = n;
    else if (!strcmp(name, "--settle")) options.settle = n;
    else if (!strcmp(name, "--rest")) options.rest = n;
    else if (!strcmp(name, "--cores")) options.core_count = numbers(value, options.cores, CORES);
    else if (!strcmp(name, "--timeout")) options.timeout = n;
    else if (!strcmp(name, "--joins-per-second")) options.joins_per_second = n;
    else if (!strcmp(name, "--sender-hears")) options.sender_hears = n != 0;
    else if (!strcmp(name, "--own-cursors")) options.own_cursors = n != 0;
    else if (!strcmp(name, "--leave")) options.reconnect = n != 0;
    else if (!strcmp(name, "--kind")) options.chat = !strcmp(value, "chat");
    else if (!strcmp(name, "--mode")) {
      options.idle = !strcmp(value, "idle");
      options.storm = !strcmp(value, "storm");
    } else die("unknown option %s", name);
  }
  if (!options.port_count) die("--ports is needed");
  if (!options.core_count) die("--cores is needed");
}

static void *shared_memory(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("no memory: %s", strerror(errno));
  return memory;
}

/* Start the other processes. They end with the first one, which reports the failures of all. */
static void divide(void) {
  pid_t first = getpid();
  for (int i = 1; i < options.core_count && !me; i++) {
    pid_t pid = fork();
    if (pid < 0) die("no process: %s", strerror(errno));
    if (pid) continue;
    me = i;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != first) exit(1);
  }
  run_on(options.cores[me]);
}

int main(int count_, char **words) {
  read_options(count_, words);
  take_all_descriptors();
  epoch_tag = (uint32_t)time(NULL) ^ (uint32_t)getpid() << 16;
  int total = options.idle ? options.connections : options.rooms * options.members;
  connections = calloc((size_t)total, sizeof *connections);
  if (!options.idle && !options.storm) newest = calloc((size_t)total * (size_t)options.members, sizeof *newest);
  for (int i = 0; i < total; i++) {
    connections[i].room = options.idle ? 0 : i / options.members;
    connections[i].member = options.idle ? 0 : i % options.members;
    connections[i].stalled = !options.idle && connections[i].member >= options.members - options.stalled;
  }
  last_sent = shared_memory((size_t)total * sizeof *last_sent);
  shared = shared_memory(sizeof *shared);
  divide();
  epoll = epoll_create1(0);
  if (!me) printf("{");
  if (options.idle) idle();
  else if (options.storm) storm();
  else traffic();
  if (me) return 0;
  printf(",\"generator_cpu\":%.2f,\"disordered\":%llu,\"foreign\":%llu,\"broken\":%llu,\"ends\":%llu,\"refused\":%llu}\n",
         count.own_cpu, (unsigned long long)count.disordered, (unsigned long long)count.foreign,
         (unsigned long long)count.broken, (unsigned long long)count.unexpected_ends, (unsigned long long)count.refused);
  return 0;
}
