/* The WebSocket connections of a load generator, which never block. */
#ifndef LINK_H
#define LINK_H
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measuring.h"

enum { EVENTS = 1024 };

/* The first field of what a generator knows of a connection. */
struct link {
  int fd;
  bool writing, deaf; /* deaf: it reads nothing */
  char *rest;         /* of a frame that is not complete yet */
  size_t rest_size;
  char *unsent;
  size_t unsent_size;
};

struct frame {
  int opcode;
  const char *payload;
  size_t size;
};

static int epoll;

/* Each generator has these two. */
static void die(const char *format, ...);
static void ready(struct link *link, uint32_t events);

static void watch(struct link *link) {
  struct epoll_event event = {.events = (link->deaf ? 0 : EPOLLIN) | (link->writing ? EPOLLOUT : 0), .data.ptr = link};
  epoll_ctl(epoll, EPOLL_CTL_MOD, link->fd, &event);
}

static void close_link(struct link *link) {
  close(link->fd);
  free(link->rest);
  free(link->unsent);
  link->rest = link->unsent = NULL;
  link->rest_size = link->unsent_size = 0;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static void put(struct link *link, const void *data, size_t size) {
  ssize_t done = 0;
  if (!link->unsent_size) {
    done = send(link->fd, data, size, MSG_NOSIGNAL);
    if (done < 0) {
      if (errno != EAGAIN) return;
      done = 0;
    }
    if ((size_t)done == size) return;
  }
  link->unsent = realloc(link->unsent, link->unsent_size + size - (size_t)done);
  memcpy(link->unsent + link->unsent_size, (const char *)data + done, size - (size_t)done);
  link->unsent_size += size - (size_t)done;
  link->writing = true;
  watch(link);
}

static void put_rest(struct link *link) {
  ssize_t done = send(link->fd, link->unsent, link->unsent_size, MSG_NOSIGNAL);
  if (done <= 0) return;
  link->unsent_size -= (size_t)done;
  memmove(link->unsent, link->unsent + done, link->unsent_size);
  if (!link->unsent_size) {
    link->writing = false;
    watch(link);
  }
}

/* Client frames are masked; a mask of zeros costs the server the same and us nothing. */
static void put_frame(struct link *link, int opcode, const void *payload, size_t size) {
  uint8_t small[4096], *frame = size + 14 > sizeof small ? malloc(size + 14) : small, *at = frame;
  *at++ = (uint8_t)(0x80 | opcode);
  if (size < 126) {
    *at++ = (uint8_t)(0x80 | size);
  } else if (size < 65536) {
    *at++ = 0x80 | 126;
    *at++ = (uint8_t)(size >> 8);
    *at++ = (uint8_t)size;
  } else {
    *at++ = 0x80 | 127;
    for (int shift = 56; shift >= 0; shift -= 8) *at++ = (uint8_t)((uint64_t)size >> shift);
  }
  memset(at, 0, 4);
  memcpy(at + 4, payload, size);
  put(link, frame, (size_t)(at + 4 - frame) + size);
  if (frame != small) free(frame);
}

/* --- receiving ---------------------------------------------------------------------------------------- */

/* How many bytes a whole frame has; 0 if it is not complete. */
static size_t read_frame(const char *data, size_t size, struct frame *frame) {
  if (size < 2) return 0;
  const uint8_t *head = (const uint8_t *)data;
  size_t length = head[1] & 127, start = 2;
  if (length >= 126) {
    size_t wide = length == 126 ? 2 : 8;
    if (size < 2 + wide) return 0;
    length = 0;
    for (size_t i = 0; i < wide; i++) length = length << 8 | head[2 + i];
    start += wide;
  }
  if (size - start < length) return 0;
  *frame = (struct frame){head[0] & 15, data + start, length};
  return start + length;
}

/* How many bytes the answer to the upgrade has; 0 if it is not complete. */
static size_t read_upgrade(const char *data, size_t size) {
  const char *head_end = memmem(data, size, "\r\n\r\n", 4);
  if (!head_end) return 0;
  if (memcmp(data + 9, "101", 3)) die("refused: %.*s", (int)size, data);
  return (size_t)(head_end - data) + 4;
}

static void keep_rest(struct link *link, const char *data, size_t size) {
  link->rest_size = size;
  if (size) {
    link->rest = realloc(link->rest, size);
    memcpy(link->rest, data, size);
  } else {
    free(link->rest);
    link->rest = NULL;
  }
}

/* --- connecting --------------------------------------------------------------------------------------- */

static void open_socket(struct link *link) {
  int one = 1;
  link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (link->fd < 0) die("no socket: %s", strerror(errno));
  setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct linger hard = {.l_onoff = 1, .l_linger = 0}; /* leaves no port waiting behind */
  setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static void connect_to(struct link *link, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001), .sin_port = htons((uint16_t)port)};
  if (connect(link->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect: %s", strerror(errno));
  link->writing = true;
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = link};
  epoll_ctl(epoll, EPOLL_CTL_ADD, link->fd, &event);
}

static void ask_for_upgrade(struct link *link, const char *path, int port) {
  char request[512];
  int size = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                      path, port);
  link->writing = false;
  watch(link);
  put(link, request, (size_t)size);
}

/* --- waiting ------------------------------------------------------------------------------------------ */

static void turn(int timeout_us) {
  static struct epoll_event events[EVENTS];
  struct timespec wait = {.tv_sec = timeout_us / 1000000, .tv_nsec = (long)(timeout_us % 1000000) * 1000};
  int found = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
  for (int i = 0; i < found; i++) ready(events[i].data.ptr, events[i].events);
}

static void turn_for(double seconds) {
  uint64_t until = now_us() + (uint64_t)(seconds * 1e6);
  while (now_us() < until) turn(2000);
}

#endif
