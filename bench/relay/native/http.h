// What the mock provider and the load generator share: time, options, header lookup, sockets.
#ifndef RELAY_HTTP_H
#define RELAY_HTTP_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

typedef struct {
  char *data;
  size_t len, cap;
} Buffer;

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static inline void reserve(Buffer *b, size_t more) {
  if (b->len + more <= b->cap) return;
  size_t cap = b->cap ? b->cap : 4096;
  while (cap < b->len + more) cap *= 2;
  if (!(b->data = realloc(b->data, cap))) die("realloc");
  b->cap = cap;
}

static inline void append(Buffer *b, const void *data, size_t len) {
  reserve(b, len);
  memcpy(b->data + b->len, data, len);
  b->len += len;
}

static inline void drop_front(Buffer *b, size_t n) {
  memmove(b->data, b->data + n, b->len - n);
  b->len -= n;
}

// CLOCK_MONOTONIC, so that two processes of one machine can compare their times.
static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// The value of `name=value` among the arguments, or `fallback`.
static inline const char *option(int argc, char **argv, const char *name, const char *fallback) {
  size_t n = strlen(name);
  for (int i = 1; i < argc; i++)
    if (!strncmp(argv[i], name, n) && argv[i][n] == '=') return argv[i] + n + 1;
  return fallback;
}

static inline Buffer read_all(const char *path) {
  Buffer b = {0};
  FILE *f = fopen(path, "rb");
  if (!f) die(path);
  for (;;) {
    reserve(&b, 65536);
    size_t n = fread(b.data + b.len, 1, 65536, f);
    if (!n) break;
    b.len += n;
  }
  fclose(f);
  return b;
}

// The value of a header inside `head` (request or status line included), NULL if it is not there.
static inline const char *header(const char *head, size_t len, const char *name, size_t *value_len) {
  size_t n = strlen(name);
  const char *end = head + len;
  for (const char *p = head; p < end;) {
    const char *line_end = memmem(p, (size_t)(end - p), "\r\n", 2);
    if (!line_end) line_end = end;
    if ((size_t)(line_end - p) > n && p[n] == ':' && !strncasecmp(p, name, n)) {
      const char *value = p + n + 1;
      while (value < line_end && *value == ' ') value++;
      *value_len = (size_t)(line_end - value);
      return value;
    }
    p = line_end + 2;
  }
  return NULL;
}

static inline bool header_is(const char *head, size_t len, const char *name, const char *want) {
  size_t n = 0;
  const char *value = header(head, len, name, &n);
  return value && n == strlen(want) && !strncasecmp(value, want, n);
}

// The length that Content-Length names, or -1.
static inline long content_length(const char *head, size_t len) {
  size_t n = 0;
  const char *value = header(head, len, "content-length", &n);
  return value ? strtol(value, NULL, 10) : -1;
}

// Chunked transfer decoding that may be fed at any cut.
typedef struct {
  enum { SIZE_LINE, DATA, DATA_END, TRAILER, DONE } state;
  size_t left;    // bytes of the current chunk still to come
  int digits;     // hex digits seen in the current size line; -1 once they have ended
  int line_len;   // characters in the current trailer line
} Chunked;

// Decodes from data[0..len), appends the payload to `out`; returns the bytes consumed.
static inline size_t dechunk(Chunked *c, const char *data, size_t len, Buffer *out) {
  size_t i = 0;
  while (i < len && c->state != DONE) {
    char ch = data[i];
    switch (c->state) {
      case SIZE_LINE:
        i++;
        if (ch == '\n') {
          c->state = c->left ? DATA : TRAILER;
          c->digits = c->line_len = 0;
        } else if (c->digits >= 0) {
          int v = ch >= '0' && ch <= '9'   ? ch - '0'
                  : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                  : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                           : -1;
          if (v < 0) c->digits = -1;
          else c->left = c->left * 16 + (size_t)v;
        }
        break;
      case DATA: {
        size_t n = len - i < c->left ? len - i : c->left;
        append(out, data + i, n);
        i += n;
        c->left -= n;
        if (!c->left) c->state = DATA_END;
        break;
      }
      case DATA_END:
        i++;
        if (ch == '\n') c->state = SIZE_LINE;
        break;
      case TRAILER:
        i++;
        if (ch == '\n') {
          if (!c->line_len) c->state = DONE;
          c->line_len = 0;
        } else if (ch != '\r') {
          c->line_len++;
        }
        break;
      case DONE:
        break;
    }
  }
  return i;
}

static inline void tune(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline struct sockaddr_in loopback(const char *port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

#endif
