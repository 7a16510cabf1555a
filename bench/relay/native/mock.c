// A mock provider of OpenAI chat completions that is not the bottleneck: one thread, epoll.
//
//   mock port=N reply=FILE
//
// POST to any path: one completion whose text is the reply file, or, with "stream": true, a stream
// of EVENTS server-sent events that say the same text; "seed": N in the request is the pause
// between two events in ms. Streams take turns, one event each, and every event is a write of its
// own. "system_fingerprint" of each event is the CLOCK_MONOTONIC time, in hex ns, at which it left.
// GET /stats: what was received, so that a bench can see what a router made of its requests.
#include "http.h"

enum { EVENTS = 50, MAX_FDS = 65536 };  // EVENTS counts data: lines, [DONE] included

typedef struct {
  int fd;
  Buffer in, body, out;
  bool in_body, chunked, closing, streaming;
  long left;  // request body bytes still to come
  Chunked decoder;
  int next_event;
  uint64_t gap_ns, due_ns;
} Conn;

static Conn *conns[MAX_FDS];
static Conn *streams[MAX_FDS];
static int stream_count, epoll_fd;
static Buffer plain, words[EVENTS];
static struct {
  uint64_t requests, streams, with_context, body_bytes;
} seen;

static const char HEADERS[] =
    "x-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    "openai-organization: bench\r\nopenai-processing-ms: 1\r\nopenai-version: 2020-10-01\r\n"
    "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-remaining-requests: 9999\r\n\r\n";

static void prepare_replies(const char *path) {
  Buffer reply = read_all(path);
  while (reply.len && reply.data[reply.len - 1] == '\n') reply.len--;
  append(&reply, "", 1);
  char *json = NULL;
  int n = asprintf(&json,
      "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1750000000,"
      "\"model\":\"gpt-5.5\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
      "\"content\":\"%s\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
      "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1234,\"completion_tokens\":60,"
      "\"total_tokens\":1294,\"prompt_tokens_details\":{\"cached_tokens\":1024}},"
      "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0123456789abcdef\"}", reply.data);
  char head[256];
  int h = snprintf(head, sizeof head,
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", n);
  append(&plain, head, (size_t)h);
  append(&plain, HEADERS, sizeof HEADERS - 1);
  append(&plain, json, (size_t)n);
  free(json);
  // The text in EVENTS - 2 pieces, cut at spaces, the last taking what is left.
  char *p = reply.data;
  for (int i = 0; i < EVENTS - 2; i++) {
    char *space = i == EVENTS - 3 ? NULL : strchr(p + (*p == ' '), ' ');
    size_t len = space ? (size_t)(space - p) : strlen(p);
    append(&words[i], p, len);
    append(&words[i], "", 1);
    p += len;
  }
  free(reply.data);
}

static void close_conn(Conn *c) {
  close(c->fd);
  conns[c->fd] = NULL;
  for (int i = 0; i < stream_count; i++)
    if (streams[i] == c) streams[i--] = streams[--stream_count];
  free(c->in.data), free(c->body.data), free(c->out.data), free(c);
}

// Sends what it can and keeps the rest; false if the connection is gone.
static bool put(Conn *c, const char *data, size_t len) {
  if (!c->out.len) {
    ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return false;
    if (n > 0) data += n, len -= (size_t)n;
    if (!len) return true;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.fd = c->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
  }
  append(&c->out, data, len);
  return true;
}

static bool flush_out(Conn *c) {
  ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN;
  drop_front(&c->out, (size_t)n);
  if (!c->out.len) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = c->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
  }
  return true;
}

static bool send_event(Conn *c) {
  static const char *CHOICE =
      "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
      "\"created\":1750000000,\"model\":\"gpt-5.5\",\"service_tier\":\"default\","
      "\"system_fingerprint\":\"fp_%016llx\",\"choices\":[{\"index\":0,\"delta\":{%s\"content\":"
      "\"%s\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
  static const char *LAST =
      "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
      "\"created\":1750000000,\"model\":\"gpt-5.5\",\"service_tier\":\"default\","
      "\"system_fingerprint\":\"fp_%016llx\",\"choices\":[{\"index\":0,\"delta\":{},"
      "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1234,"
      "\"completion_tokens\":60,\"total_tokens\":1294}}\n\n";
  char event[2048], block[2200];
  int i = c->next_event++, n;
  unsigned long long now = now_ns();
  if (i < EVENTS - 2)
    n = snprintf(event, sizeof event, CHOICE, now, i ? "" : "\"role\":\"assistant\",",
                 words[i].data);
  else n = snprintf(event, sizeof event, LAST, now);
  int m = snprintf(block, sizeof block, "%x\r\n%s\r\n", n, event);
  if (i < EVENTS - 2) return put(c, block, (size_t)m);
  m += snprintf(block + m, sizeof block - (size_t)m, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
  c->streaming = false;
  return put(c, block, (size_t)m);
}

static bool flag_in(const char *data, size_t len, const char *name, long *value) {
  const char *p = memmem(data, len, name, strlen(name));
  if (!p) return false;
  p += strlen(name);
  while (p < data + len && (*p == ' ' || *p == ':')) p++;
  if (p + 4 <= data + len && !memcmp(p, "true", 4)) *value = 1;
  else if (p < data + len) *value = strtol(p, NULL, 10);
  return true;
}

static bool answer(Conn *c, const char *head, size_t head_len) {
  append(&c->body, "", 1);  // so that strtol stops
  size_t len = c->body.len - 1;
  if (!memcmp(head, "GET /stats", 10)) {
    char json[256], all[400];
    int n = snprintf(json, sizeof json,
        "{\"requests\":%llu,\"streams\":%llu,\"with_context\":%llu,\"body_bytes\":%llu}",
        (unsigned long long)seen.requests, (unsigned long long)seen.streams,
        (unsigned long long)seen.with_context, (unsigned long long)seen.body_bytes);
    int m = snprintf(all, sizeof all,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n,
        json);
    return put(c, all, (size_t)m);
  }
  (void)head_len;
  seen.requests++;
  seen.body_bytes += len;
  if (memmem(c->body.data, len, "<memory_context>", 16)) seen.with_context++;
  long stream = 0, gap_ms = 0;
  flag_in(c->body.data, len, "\"stream\"", &stream);
  flag_in(c->body.data, len, "\"seed\"", &gap_ms);
  if (!stream) return put(c, plain.data, plain.len);
  seen.streams++;
  static Buffer start;
  if (!start.len) {
    const char *h = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                    "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n";
    append(&start, h, strlen(h));
    append(&start, HEADERS, sizeof HEADERS - 1);
  }
  c->next_event = 0;
  c->streaming = true;
  c->gap_ns = (uint64_t)gap_ms * 1000000u;
  c->due_ns = now_ns();
  streams[stream_count++] = c;
  return put(c, start.data, start.len);
}

// Takes whole requests from the input; false if the connection is to be closed.
static bool take_requests(Conn *c) {
  static char head[65536];
  static size_t head_len;
  for (;;) {
    if (!c->in_body) {
      char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
      if (!end) return true;
      head_len = (size_t)(end - c->in.data);
      size_t n = 0;
      const char *expect = header(c->in.data, head_len, "expect", &n);
      if (expect && !put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25)) return false;
      long length = content_length(c->in.data, head_len);
      c->chunked = header_is(c->in.data, head_len, "transfer-encoding", "chunked");
      c->closing = header_is(c->in.data, head_len, "connection", "close");
      c->left = length > 0 ? length : 0;
      c->decoder = (Chunked){0};
      c->body.len = 0;
      c->in_body = true;
      memcpy(head, c->in.data, head_len < sizeof head ? head_len : sizeof head);
      drop_front(&c->in, head_len + 4);
    }
    if (c->chunked) {
      drop_front(&c->in, dechunk(&c->decoder, c->in.data, c->in.len, &c->body));
      if (c->decoder.state != DONE) return true;
    } else {
      size_t n = c->in.len < (size_t)c->left ? c->in.len : (size_t)c->left;
      append(&c->body, c->in.data, n);
      drop_front(&c->in, n);
      c->left -= (long)n;
      if (c->left) return true;
    }
    c->in_body = false;
    if (!answer(c, head, head_len)) return false;
    if (c->closing && !c->streaming && !c->out.len) return false;
    if (!c->in.len) return true;
  }
}

static bool readable(Conn *c) {
  for (;;) {
    reserve(&c->in, 262144);
    size_t room = c->in.cap - c->in.len;
    ssize_t n = recv(c->fd, c->in.data + c->in.len, room, 0);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN;
    c->in.len += (size_t)n;
    if (!take_requests(c)) return false;
    if ((size_t)n < room) return true;
  }
}

static void accept_all(int listener) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    tune(fd);
    Conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    conns[fd] = c;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
  }
}

// Sends one event of every stream that is due; returns ns until the next is, or -1.
static int64_t run_streams(void) {
  int64_t wait = -1;
  uint64_t now = stream_count ? now_ns() : 0;
  for (int i = 0; i < stream_count; i++) {
    Conn *c = streams[i];
    if (c->due_ns <= now) {
      bool alive = send_event(c);
      c->due_ns = c->gap_ns ? c->due_ns + c->gap_ns : now;
      if (!alive || (!c->streaming && c->closing)) {
        close_conn(c);
        i--;
        continue;
      }
      if (!c->streaming) {
        streams[i--] = streams[--stream_count];
        continue;
      }
    }
    int64_t left = c->due_ns > now ? (int64_t)(c->due_ns - now) : 0;
    if (wait < 0 || left < wait) wait = left;
  }
  return wait;
}

int main(int argc, char **argv) {
  prepare_replies(option(argc, argv, "reply", "/dev/null"));
  struct sockaddr_in address = loopback(option(argc, argv, "port", "9100"));
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address)) die("bind");
  if (listen(listener, 1024)) die("listen");
  epoll_fd = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
  for (;;) {
    int64_t wait = run_streams();
    struct timespec t = {.tv_sec = wait / 1000000000, .tv_nsec = wait % 1000000000};
    int n = epoll_pwait2(epoll_fd, events, 256, wait < 0 ? NULL : &t, NULL);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        accept_all(listener);
        continue;
      }
      Conn *c = conns[fd];
      bool alive = c != NULL;
      if (alive && events[i].events & EPOLLOUT) alive = flush_out(c);
      if (alive && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = readable(c);
      if (c && !alive) close_conn(c);
    }
  }
}
