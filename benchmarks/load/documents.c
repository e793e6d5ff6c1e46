/* The load generator for shared documents: many Yjs editors in one process.
 *
 * Each editor has a client id of its own and types one letter after another into the text `t` of its document, as real
 * updates of Yjs (version 1) that follow each other. A server may deliver several of them as one: a receiver reads the
 * structs of an update, and each clock that is new to it is one delivery of the edit with that clock. Clocks of one
 * client must come in order and without a gap. In the end every editor must have every edit of its document, and asks
 * for the whole document again: every acknowledged edit must be in that too.
 *
 * An edit counts as acknowledged when the server has answered it: with a sync status where it speaks Hocuspocus, and
 * otherwise with the edit itself.
 *
 * One JSON object on standard output. Times are microseconds of CLOCK_MONOTONIC, CPU is user + system seconds of the named
 * processes within the measured window.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "link.h"
#include "measuring.h"
#include "process.h"

enum { BUFFER = 8 << 20, PORTS = 64, NAME = 36 };
enum dialect { STUDYROOM, Y_WEBSOCKET, HOCUSPOCUS };
enum stage { UNUSED, CONNECTING, UPGRADING, OPEN, SYNCED, ENDED };
enum { SYNC = 0, AUTH = 2, SYNC_REPLY = 4, CLOSED = 7, SYNC_STATUS = 8 };
enum { STEP_1 = 0, STEP_2 = 1, UPDATE = 2 };

static const char *DIALECTS[] = {"studyroom", "y-websocket", "hocuspocus"};
static const uint64_t FIRST_CLIENT = 0x40000000; /* real ids are random and take five bytes, too */

struct editor {
  struct link link;
  int document;
  enum stage stage;
  uint32_t sent, acknowledged; /* clocks */
  size_t longest;              /* update that it got */
};

static struct options {
  enum dialect dialect;
  int ports[PORTS], port_count, core;
  int documents, editors, opens;
  double rate, warmup, seconds, settle, timeout;
  char mode; /* t traffic, o open, i idle */
  const char *state;
} options = {.documents = 100, .editors = 8, .opens = 50, .rate = 5, .warmup = 3, .seconds = 10, .settle = 2, .timeout = 90,
             .mode = 't', .core = -1};

static struct editor *editors;
static uint32_t *seen;     /* [editor][its document's editors]: clocks that it has */
static uint64_t *sent_at;  /* [editor][clock] */
static uint32_t clocks_max;
static int opening, synced_count;
static char buffer[BUFFER];
static uint32_t run_tag;

static struct {
  uint64_t sent, received, acknowledged, frames, bytes, disordered, foreign, broken, refused, ends, missing, lost, late;
  uint64_t seen_bins[BINS], stored_bins[BINS];
  bool on;
} count;

static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

static void name_of(int document, char *name) { sprintf(name, "%08x-0000-4000-8000-%012x", run_tag, (unsigned)document); }

/* --- lib0 --------------------------------------------------------------------------------------------- */

struct writer {
  uint8_t *at;
};

static void put_number(struct writer *to, uint64_t value) {
  for (; value > 127; value >>= 7) *to->at++ = (uint8_t)(value | 128);
  *to->at++ = (uint8_t)value;
}

static void put_bytes(struct writer *to, const void *data, size_t size) {
  put_number(to, size);
  memcpy(to->at, data, size);
  to->at += size;
}

struct reader {
  const uint8_t *at, *end;
  bool broken;
};

static uint64_t number(struct reader *from) {
  uint64_t value = 0;
  for (int shift = 0; from->at < from->end && shift < 63; shift += 7) {
    uint8_t byte = *from->at++;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
  from->broken = true;
  return 0;
}

static struct reader bytes(struct reader *from) {
  uint64_t size = number(from);
  if (from->broken || size > (uint64_t)(from->end - from->at)) {
    from->broken = true;
    return (struct reader){from->end, from->end, true};
  }
  struct reader part = {from->at, from->at + size, false};
  from->at += size;
  return part;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static void end(struct editor *editor) {
  if (editor->stage == ENDED) return;
  close_link(&editor->link);
  editor->stage = ENDED;
}

static void put_message(struct editor *editor, int kind, int step, const void *data, size_t size) {
  uint8_t *message = malloc(size + 64);
  struct writer to = {message};
  char name[NAME + 1];
  if (options.dialect == HOCUSPOCUS) {
    name_of(editor->document, name);
    put_bytes(&to, name, NAME);
  }
  put_number(&to, (uint64_t)kind);
  put_number(&to, (uint64_t)step);
  put_bytes(&to, data, size);
  put_frame(&editor->link, 2, message, (size_t)(to.at - message));
  free(message);
}

static void ask(struct editor *editor) { put_message(editor, SYNC, STEP_1, "\0", 1); }

/* Type letters. Each update has one struct: a string after the last letter of this client. */
static void type(struct editor *editor, uint32_t letters, uint64_t now) {
  uint8_t update[512];
  struct writer to = {update};
  uint64_t client = FIRST_CLIENT + (uint64_t)(editor - editors);
  char text[256];
  memset(text, 'a' + (int)(editor->sent % 26), sizeof text);
  put_number(&to, 1);
  put_number(&to, 1);
  put_number(&to, client);
  put_number(&to, editor->sent);
  *to.at++ = editor->sent ? 0x84 : 4;
  if (editor->sent) {
    put_number(&to, client);
    put_number(&to, editor->sent - 1);
  } else {
    put_number(&to, 1);
    put_bytes(&to, "t", 1);
  }
  put_bytes(&to, text, letters);
  put_number(&to, 0);
  for (uint32_t i = 0; i < letters && editor->sent < clocks_max; i++)
    sent_at[(size_t)(editor - editors) * clocks_max + editor->sent++] = now;
  if (count.on) count.sent++;
  put_message(editor, SYNC, UPDATE, update, (size_t)(to.at - update));
}

/* --- receiving ---------------------------------------------------------------------------------------- */

static void acknowledge(struct editor *editor, uint32_t until, uint64_t now) {
  for (; editor->acknowledged < until; editor->acknowledged++)
    if (count.on) {
      count.acknowledged++;
      count.stored_bins[bin_of(now - sent_at[(size_t)(editor - editors) * clocks_max + editor->acknowledged])]++;
    }
}

static void take_clocks(struct editor *editor, uint64_t client, uint64_t first, uint64_t past, uint64_t now) {
  if (!sent_at) return;
  uint64_t from = client - FIRST_CLIENT;
  if (from >= (uint64_t)options.documents * (uint64_t)options.editors || editors[from].document != editor->document) {
    count.foreign++;
    return;
  }
  uint32_t *had = &seen[(size_t)(editor - editors) * (size_t)options.editors + from % (uint64_t)options.editors];
  if (first > *had) count.disordered++;
  bool own = &editors[from] == editor;
  for (; *had < past; ++*had)
    if (count.on && !own) {
      count.received++;
      count.seen_bins[bin_of(now - sent_at[from * clocks_max + *had])]++;
    }
  if (own && options.dialect != HOCUSPOCUS) acknowledge(editor, *had, now);
}

/* Read the structs of an update. This generator writes strings only. */
static void take_update(struct editor *editor, struct reader update, uint64_t now) {
  if ((size_t)(update.end - update.at) > editor->longest) editor->longest = (size_t)(update.end - update.at);
  if (options.mode != 't') return;
  for (uint64_t clients = number(&update); clients && !update.broken; clients--) {
    uint64_t structs = number(&update), client = number(&update), clock = number(&update);
    for (; structs && !update.broken; structs--) {
      uint8_t info = update.at < update.end ? *update.at++ : 0;
      if ((info & 31) != 4) {
        count.broken++;
        return;
      }
      for (int bit = 0x80; bit >= 0x40; bit >>= 1)
        if (info & bit) number(&update), number(&update);
      if (!(info & 0xc0)) {
        if (number(&update)) bytes(&update);
        else number(&update), number(&update);
      }
      struct reader text = bytes(&update);
      uint64_t past = clock + (uint64_t)(text.end - text.at);
      if (!update.broken) take_clocks(editor, client, clock, past, now);
      clock = past;
    }
  }
  count.broken += update.broken;
}

static void take_message(struct editor *editor, const char *payload, size_t size, uint64_t now) {
  struct reader message = {(const uint8_t *)payload, (const uint8_t *)payload + size, false};
  if (options.dialect == HOCUSPOCUS && size > 1) bytes(&message);
  uint64_t kind = number(&message);
  if (kind == SYNC || kind == SYNC_REPLY) {
    uint64_t step = number(&message);
    struct reader data = bytes(&message);
    count.broken += message.broken;
    if (step == STEP_1) {
      put_message(editor, SYNC, STEP_2, "\0\0", 2);
      return;
    }
    take_update(editor, data, now);
    if (step == STEP_2 && editor->stage == OPEN) {
      editor->stage = SYNCED;
      synced_count++;
    }
  } else if (kind == AUTH) {
    if (options.dialect == HOCUSPOCUS && number(&message) == 2) ask(editor);
    else if (!count.refused++) fprintf(stderr, "refused: %.*s\n", (int)size, payload);
  } else if (kind == CLOSED) {
    if (!count.refused++) fprintf(stderr, "closed: %.*s\n", (int)size, payload);
  } else if (kind == SYNC_STATUS && editor->stage == SYNCED && sent_at) {
    if (number(&message) != 1) count.refused++;
    else if (editor->acknowledged < editor->sent) acknowledge(editor, editor->acknowledged + 1, now);
  }
}

static void take_frame(struct editor *editor, int opcode, const char *payload, size_t size, uint64_t now) {
  if (opcode <= 2) {
    count.frames += count.on;
    take_message(editor, payload, size, now);
  } else if (opcode == 9) {
    put_frame(&editor->link, 10, payload, size);
  } else if (opcode == 8) {
    if (!count.ends++ && size >= 2)
      fprintf(stderr, "closed with %d %.*s\n", (uint8_t)payload[0] << 8 | (uint8_t)payload[1], (int)size - 2, payload + 2);
    end(editor);
  }
}

/* How many bytes were whole frames. */
static size_t take_frames(struct editor *editor, const char *data, size_t size, uint64_t now) {
  struct frame frame;
  size_t at = 0;
  for (size_t length; editor->stage != ENDED && (length = read_frame(data + at, size - at, &frame)); at += length)
    take_frame(editor, frame.opcode, frame.payload, frame.size, now);
  return at;
}

static void opened(struct editor *editor) {
  editor->stage = OPEN;
  opening--;
  if (options.dialect == HOCUSPOCUS) put_message(editor, AUTH, 0, "", 0);
  else ask(editor);
}

static void receive(struct editor *editor) {
  size_t kept = editor->link.rest_size, done = 0;
  if (kept) memcpy(buffer, editor->link.rest, kept);
  ssize_t got = recv(editor->link.fd, buffer + kept, BUFFER - kept, 0);
  if (got <= 0) {
    if (got < 0 && errno == EAGAIN) return;
    count.ends++;
    end(editor);
    return;
  }
  if (count.on) count.bytes += (size_t)got;
  uint64_t now = now_us();
  size_t size = kept + (size_t)got;
  if (editor->stage == UPGRADING) {
    done = read_upgrade(buffer, size);
    if (done) opened(editor);
  }
  if (editor->stage == OPEN || editor->stage == SYNCED) done += take_frames(editor, buffer + done, size - done, now);
  if (editor->stage == ENDED) return;
  keep_rest(&editor->link, buffer + done, size - done);
}

/* --- connecting --------------------------------------------------------------------------------------- */

static void dial(struct editor *editor) {
  open_socket(&editor->link);
  connect_to(&editor->link, options.ports[editor->document % options.port_count]);
  editor->stage = CONNECTING;
  opening++;
}

static void upgrade(struct editor *editor) {
  char path[128], name[NAME + 1];
  name_of(editor->document, name);
  if (options.dialect == STUDYROOM) snprintf(path, sizeof path, "/documents/%s/t?username=u", name);
  else snprintf(path, sizeof path, "/%s", options.dialect == Y_WEBSOCKET ? name : "");
  editor->stage = UPGRADING;
  ask_for_upgrade(&editor->link, path, options.ports[0]);
}

static void ready(struct link *link, uint32_t events) {
  struct editor *editor = (struct editor *)link;
  if (editor->stage == ENDED) return;
  if (events & EPOLLOUT) {
    if (editor->stage == CONNECTING) upgrade(editor);
    else if (link->unsent_size) put_rest(link);
  }
  if (editor->stage != ENDED && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(editor);
}

/* Open the first editor of each document, and then the others: pycrdt-websocket may forget the second one of a document
 * that it is opening for the first. */
static void open_all(int total) {
  uint64_t deadline = now_us() + (uint64_t)(options.timeout * 1e6);
  int first = (total + options.editors - 1) / options.editors;
  for (int next = 0; synced_count < total;) {
    for (; next < (synced_count < first ? first : total) && opening < 32 && next - synced_count < 64; next++) {
      int other = next - first, others = options.editors - 1;
      dial(&editors[next < first ? next * options.editors : other / others * options.editors + 1 + other % others]);
    }
    turn(2000);
    if (now_us() > deadline) die("only %d of %d are synced after %.0f s", synced_count, total, options.timeout);
    if (count.ends || count.refused) die("an editor was refused or ended while others were opened");
  }
}

/* --- what is measured --------------------------------------------------------------------------------- */

static void begin_window(void) {
  begin_cpu();
  count.on = true;
}

static void print_all_cpu(void) {
  print_cpu();
  printf(",\"generator_cpu\":%.2f,", own_cpu_seconds());
}

/* How many edits an editor of the document has not seen. */
static uint64_t missing_in(const struct editor *editor) {
  uint64_t missing = 0;
  int first = editor->document * options.editors;
  for (int other = 0; other < options.editors; other++)
    missing += editors[first + other].sent - seen[(size_t)(editor - editors) * (size_t)options.editors + (size_t)other];
  return missing;
}

/* Wait until the editors whose index is a multiple of `step` have all edits of their documents, at most for half a minute. */
static void catch_up(int total, int step) {
  uint64_t deadline = now_us() + 30000000, missing = 1;
  while (missing && now_us() < deadline) {
    turn_for(0.5);
    missing = 0;
    for (int i = 0; i < total; i += step) missing += missing_in(&editors[i]);
  }
}

static void check(int total) {
  catch_up(total, 1);
  for (int i = 0; i < total; i++) {
    count.missing += missing_in(&editors[i]);
    count.lost += editors[i].sent - editors[i].acknowledged;
  }
  /* One editor of each document asks for everything: it must have all edits again. */
  for (int document = 0; document < options.documents; document++) {
    struct editor *editor = &editors[document * options.editors];
    memset(&seen[(size_t)(editor - editors) * (size_t)options.editors], 0, sizeof *seen * (size_t)options.editors);
    ask(editor);
  }
  catch_up(total, options.editors);
  for (int document = 0; document < options.documents; document++) count.lost += missing_in(&editors[document * options.editors]);
}

static void traffic(void) {
  int total = options.documents * options.editors;
  clocks_max = (uint32_t)(options.rate * (options.warmup + options.seconds)) + 16;
  seen = calloc((size_t)total * (size_t)options.editors, sizeof *seen);
  sent_at = calloc((size_t)total * clocks_max, sizeof *sent_at);
  open_all(total);
  turn_for(options.settle);
  int *order = malloc(sizeof(int) * (size_t)total);
  for (int i = 0; i < total; i++) order[i] = i;
  shuffle(order, total);
  double step_us = 1e6 / (options.rate * total);
  uint64_t began = now_us(), warm = began + (uint64_t)(options.warmup * 1e6), done = 0, window_began = 0;
  uint64_t until = warm + (uint64_t)(options.seconds * 1e6);
  for (uint64_t now; (now = now_us()) < until;) {
    if (!count.on && now >= warm) {
      begin_window();
      window_began = now;
    }
    uint64_t due = (uint64_t)((double)(now - began) / step_us);
    if (due > done + 1000) count.late = due - done;
    for (int burst = 0; done < due && burst < 256; done++, burst++) {
      struct editor *editor = &editors[order[done % (uint64_t)total]];
      if (editor->stage == SYNCED) type(editor, 1, now_us());
    }
    uint64_t next = began + (uint64_t)((double)(done + 1) * step_us);
    now = now_us();
    turn(done < due ? 0 : next > now + 100 ? (int)(next - now) : 100);
  }
  double window = (double)(now_us() - window_began) / 1e6;
  print_all_cpu();
  count.on = false;
  print_resident("resident_kb");
  turn_for(1);
  check(total);
  printf("\"seconds\":%.3f,\"sent\":%llu,\"received\":%llu,\"acknowledged\":%llu,\"frames\":%llu,\"bytes\":%llu,\"behind\":%llu,",
         window, (unsigned long long)count.sent, (unsigned long long)count.received, (unsigned long long)count.acknowledged,
         (unsigned long long)count.frames, (unsigned long long)count.bytes, (unsigned long long)count.late);
  printf("\"seen_p50_us\":%.0f,\"seen_p99_us\":%.0f,\"stored_p50_us\":%.0f,\"stored_p99_us\":%.0f,",
         quantile_of(count.seen_bins, .5), quantile_of(count.seen_bins, .99), quantile_of(count.stored_bins, .5),
         quantile_of(count.stored_bins, .99));
}

static char *read_state(size_t *size) {
  FILE *file = fopen(options.state, "rb");
  if (!file) die("cannot read %s", options.state);
  char *state = malloc(BUFFER);
  *size = fread(state, 1, BUFFER, file);
  fclose(file);
  return state;
}

static int by_value(const void *one, const void *other) {
  double difference = *(const double *)one - *(const double *)other;
  return (difference > 0) - (difference < 0);
}

/* An editor keeps the document open, and others open it one after the other. */
static void opens(void) {
  size_t size;
  char *state = read_state(&size);
  double *took = calloc((size_t)options.opens, sizeof *took);
  open_all(1);
  put_message(&editors[0], SYNC, UPDATE, state, size);
  clocks_max = 16;
  sent_at = calloc(clocks_max, sizeof *sent_at);
  for (int i = 0; i < 8; i++) { /* a document ends with what was typed last */
    turn_for(0.1);
    type(&editors[0], 1, now_us());
  }
  turn_for(options.settle);
  begin_window();
  for (int i = 1; i <= options.opens; i++) {
    struct editor *editor = &editors[i];
    uint64_t began = now_us();
    dial(editor);
    while (editor->longest < size * 9 / 10 || editor->stage != SYNCED) {
      turn(2000);
      if (now_us() - began > 10000000) die("opening %d took too long, %zu of %zu bytes", i, editor->longest, size);
    }
    took[i - 1] = (double)(now_us() - began) / 1e3;
    put_frame(&editor->link, 8, "\x03\xe8", 2);
    turn_for(0.02);
    end(editor);
  }
  print_all_cpu();
  qsort(took, (size_t)options.opens, sizeof *took, by_value);
  printf("\"opens\":%d,\"state_bytes\":%zu,\"open_p50_ms\":%.3f,\"open_p99_ms\":%.3f,", options.opens, size,
         took[options.opens / 2], took[options.opens * 99 / 100]);
  count.ends = 0;
}

static void idle(void) {
  print_resident("resident_before_kb");
  begin_window();
  clocks_max = 256;
  sent_at = calloc((size_t)options.documents * clocks_max, sizeof *sent_at);
  seen = calloc((size_t)options.documents, sizeof *seen);
  open_all(options.documents);
  for (int i = 0; i < options.documents; i++) {
    type(&editors[i], 200, now_us());
    if (i % 16 == 15) turn_for(0.01);
  }
  turn_for(options.settle);
  print_resident("resident_kb");
  print_all_cpu();
  printf("\"documents\":%d,", options.documents);
}

/* --- options ------------------------------------------------------------------------------------------ */

static void read_options(int words_count, char **words) {
  for (int i = 1; i + 1 < words_count; i += 2) {
    char *name = words[i], *value = words[i + 1];
    double n = atof(value);
    if (!strcmp(name, "--dialect")) {
      for (int d = 0; d <= HOCUSPOCUS; d++)
        if (!strcmp(value, DIALECTS[d])) options.dialect = (enum dialect)d;
    } else if (!strcmp(name, "--ports")) options.port_count = numbers(value, options.ports, PORTS);
    else if (!strcmp(name, "--pids")) measured.count = numbers(value, measured.pids, MAX_PIDS);
    else if (!strcmp(name, "--cores")) options.core = atoi(value);
    else if (!strcmp(name, "--documents")) options.documents = (int)n;
    else if (!strcmp(name, "--editors")) options.editors = (int)n;
    else if (!strcmp(name, "--opens")) options.opens = (int)n;
    else if (!strcmp(name, "--rate")) options.rate = n;
    else if (!strcmp(name, "--warmup")) options.warmup = n;
    else if (!strcmp(name, "--seconds")) options.seconds = n;
    else if (!strcmp(name, "--settle")) options.settle = n;
    else if (!strcmp(name, "--timeout")) options.timeout = n;
    else if (!strcmp(name, "--state")) options.state = value;
    else if (!strcmp(name, "--mode")) options.mode = value[0];
    else die("unknown option %s", name);
  }
  if (!options.port_count) die("--ports is needed");
}

int main(int words_count, char **words) {
  read_options(words_count, words);
  take_all_descriptors();
  if (options.core >= 0) run_on(options.core);
  run_tag = (uint32_t)time(NULL) ^ (uint32_t)getpid() << 16;
  if (options.mode != 't') options.editors = 1;
  if (options.mode == 'o') options.documents = 1;
  int total = options.mode == 'o' ? options.opens + 1 : options.documents * options.editors;
  editors = calloc((size_t)total, sizeof *editors);
  for (int i = 0; i < total; i++) editors[i].document = options.mode == 'o' ? 0 : i / options.editors;
  epoll = epoll_create1(0);
  printf("{");
  if (options.mode == 'o') opens();
  else if (options.mode == 'i') idle();
  else traffic();
  printf("\"disordered\":%llu,\"foreign\":%llu,\"broken\":%llu,\"refused\":%llu,\"ends\":%llu,\"missing\":%llu,\"lost\":%llu}\n",
         (unsigned long long)count.disordered, (unsigned long long)count.foreign, (unsigned long long)count.broken,
         (unsigned long long)count.refused, (unsigned long long)count.ends, (unsigned long long)count.missing,
         (unsigned long long)count.lost);
  return 0;
}
