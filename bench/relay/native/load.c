// A closed-loop load generator: N clients with keep-alive, each one request at a time, one thread.
//
//   load port=N path=/v1/chat/completions clients=1 seconds=3 head=FILE tail=FILE users=FILE
//        [questions=FILE reply=FILE turns=4 offset=0 salt=0]
//        [each=N] [extra=FILE] [bytes=N] [events=N]
//
// A request's body is head + the conversation so far + tail. Client c serves users c, c + N, … (or
// c modulo their number) in turn; with each visit a user's conversation grows by one exchange, the
// reply being the mock's, until it has `turns` and a new one starts; no two user turns of one user
// are equal while the questions last. `users` holds one credential header line per user. `offset`
// is the number of turns already had, so that a later run goes on where an earlier one stopped;
// each=N ends after N visits of each user instead of after `seconds`. Every answer must be 200, of
// `bytes` bytes (0: any), contain the reply or, as a stream, `events` events (0: any) and [DONE];
// anything else is an error. One JSON object on stdout; times in microseconds.
#include "samples.h"

typedef struct {
  char **line;
  size_t *len;
  size_t count;
} Lines;

typedef struct {
  int fd, index;
  bool connecting, waiting;
  uint64_t sent_ns, first_ns, visits;
  Buffer lead, middle, in, body;  // lead: request line and headers
  size_t sent, total;             // of lead + head + middle + tail
  bool has_head, chunked, closing, stream;
  int status;
  long left;
  Chunked decoder;
  size_t line_start;
  int events;
  bool done_seen;
} Conn;

static Buffer head, tail, extra;
static Lines users, questions, replies;
static const char *path;
static uint64_t deadline, each, started, completed, errors, reconnects, offset, salt, turns;
static uint64_t event_total, event_min = UINT64_MAX, event_max, bytes_min = UINT64_MAX, bytes_max;
static uint64_t want_bytes, want_events;
static int clients, epoll_fd, open_conns;
static struct sockaddr_in address;
static Samples latency, first_byte, event_delay;
static char first_error[512];

static Lines read_lines(const char *file) {
  Lines l = {0};
  if (!file) return l;
  Buffer b = read_all(file);
  size_t cap = 0;
  for (char *p = b.data, *end = b.data + b.len; p < end;) {
    char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop) stop = end;
    if (l.count == cap) {
      cap = cap ? cap * 2 : 1024;
      l.line = realloc(l.line, cap * sizeof *l.line);
      l.len = realloc(l.len, cap * sizeof *l.len);
    }
    l.line[l.count] = p;
    l.len[l.count++] = (size_t)(stop - p);
    p = stop + 1;
  }
  return l;
}

static void text(Buffer *b, const char *s) { append(b, s, strlen(s)); }

static void add_turn(Buffer *b, const char *role, const Lines *from, size_t i) {
  text(b, ",{\"role\":\"");
  text(b, role);
  text(b, "\",\"content\":\"");
  append(b, from->line[i], from->len[i]);
  text(b, "\"}");
}

static size_t users_of(const Conn *c) {
  size_t n = users.count, k = (size_t)c->index, step = (size_t)clients;
  return k < n ? (n - k + step - 1) / step : 1;
}

static void build_request(Conn *c) {
  size_t n = users.count, k = (size_t)c->index, step = (size_t)clients, mine = users_of(c);
  uint64_t visit = c->visits++;
  size_t user = (k + step * (visit % mine)) % n;
  uint64_t turn = visit / mine + offset, conversation = turn / turns;
  c->middle.len = 0;
  if (questions.count)
    for (uint64_t j = 0; j <= turn % turns; j++) {
      uint64_t q = user * 7919 + (k + salt) * 104729 + conversation * turns + j;
      add_turn(&c->middle, "user", &questions, q % questions.count);
      if (j < turn % turns) add_turn(&c->middle, "assistant", &replies, 0);
    }
  char start[512];
  size_t body = head.len + c->middle.len + tail.len;
  c->lead.len = 0;
  append(&c->lead, start, (size_t)snprintf(start, sizeof start,
      "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
      "Accept: application/json\r\nUser-Agent: OpenAI/Python 2.9.0\r\nContent-Length: %zu\r\n",
      path, ntohs(address.sin_port), body));
  append(&c->lead, users.line[user], users.len[user]);
  text(&c->lead, "\r\n");
  append(&c->lead, extra.data, extra.len);
  text(&c->lead, "\r\n");
  c->total = c->lead.len + body;
}

static void watch(Conn *c, uint32_t what, int op) {
  struct epoll_event e = {.events = what, .data.ptr = c};
  epoll_ctl(epoll_fd, op, c->fd, &e);
}

static void connect_to(Conn *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) die("socket");
  tune(c->fd);
  c->connecting = connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0;
  if (c->connecting && errno != EINPROGRESS) die("connect");
  watch(c, EPOLLIN | (c->connecting ? EPOLLOUT : 0), EPOLL_CTL_ADD);
}

// Sends what is left of the request; false if the connection is gone.
static bool push(Conn *c) {
  while (c->sent < c->total) {
    Buffer *parts[] = {&c->lead, &head, &c->middle, &tail};
    struct iovec iov[4];
    int n = 0;
    size_t skip = c->sent;
    for (int i = 0; i < 4; i++) {
      size_t cut = skip < parts[i]->len ? skip : parts[i]->len;
      skip -= cut;
      if (parts[i]->len > cut)
        iov[n++] = (struct iovec){parts[i]->data + cut, parts[i]->len - cut};
    }
    ssize_t w = writev(c->fd, iov, n);
    if (w < 0 && errno == EAGAIN) {
      watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
      return true;
    }
    if (w < 0) return false;
    c->sent += (size_t)w;
  }
  return true;
}

static void finish(Conn *c) {
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
  close(c->fd);
  c->fd = -1;
  open_conns--;
}

static void next_request(Conn *c) {
  if (now_ns() >= deadline || (each && c->visits >= each * users_of(c))) {
    finish(c);
    return;
  }
  started++;
  c->has_head = c->done_seen = false;
  c->in.len = c->body.len = c->line_start = 0;
  c->events = 0;
  c->first_ns = 0;
  c->sent = 0;
  build_request(c);
  c->waiting = true;
  c->sent_ns = now_ns();
  if (!c->connecting) push(c);  // a broken connection shows when it is read
}

static void fail(Conn *c, const char *why) {
  errors++;
  if (!first_error[0])
    snprintf(first_error, sizeof first_error, "%s; status %d, %zu bytes: %.*s", why, c->status,
             c->body.len, (int)(c->body.len < 200 ? c->body.len : 200),
             c->body.len ? c->body.data : "");
  if (errors > 50 && errors * 2 > started) deadline = 0;  // hopeless: stop at once
}

static void reopen(Conn *c) {
  epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
  close(c->fd);
  reconnects++;
  c->waiting = false;
  connect_to(c);
}

// Counts the data: lines that have come since the last call and how long each was on its way.
static void take_events(Conn *c, uint64_t now) {
  for (;;) {
    char *p = c->body.data + c->line_start;
    size_t left = c->body.len - c->line_start;
    char *stop = left ? memchr(p, '\n', left) : NULL;
    if (!stop) return;
    size_t len = (size_t)(stop - p);
    c->line_start += len + 1;
    if (len < 5 || memcmp(p, "data:", 5)) continue;
    c->events++;
    if (len >= 12 && !memcmp(p, "data: [DONE]", 12)) c->done_seen = true;
    char *at = memmem(p, len, "\"fp_", 4);
    if (at && at + 20 <= stop) {
      char hex[17] = {0};
      memcpy(hex, at + 4, 16);
      uint64_t left_at = strtoull(hex, NULL, 16);
      if (left_at && left_at <= now && now - left_at < 60000000000u)
        sample(&event_delay, now - left_at);
    }
  }
}

static void complete(Conn *c) {
  uint64_t now = now_ns();
  size_t n = c->body.len;
  const char *why = NULL;
  const Lines *r = &replies;
  if (c->status != 200) why = "not 200";
  else if (want_bytes && n != want_bytes) why = "unexpected length";
  else if (c->stream && want_events && (uint64_t)c->events != want_events) why = "events missing";
  else if (c->stream && !c->done_seen) why = "no [DONE]";
  else if (!c->stream && r->count && !memmem(c->body.data, n, r->line[0], r->len[0]))
    why = "the reply is not in the answer";
  if (why) fail(c, why);
  else {
    completed++;
    sample(&latency, now - c->sent_ns);
    sample(&first_byte, c->first_ns - c->sent_ns);
    event_total += (uint64_t)c->events;
    if ((uint64_t)c->events < event_min) event_min = (uint64_t)c->events;
    if ((uint64_t)c->events > event_max) event_max = (uint64_t)c->events;
    if (n < bytes_min) bytes_min = n;
    if (n > bytes_max) bytes_max = n;
  }
  c->waiting = false;
  if (c->closing) reopen(c);
  next_request(c);
}

static void broken(Conn *c, const char *why) {
  bool was_waiting = c->waiting;
  // A server may close an idle connection just as it is used again: sent anew, not counted.
  bool stale = was_waiting && !c->has_head && !c->in.len && c->visits > 1 && !strcmp(why, "closed");
  if (was_waiting && !stale) fail(c, why);
  reopen(c);
  if (stale) c->visits--, started--;
  next_request(c);
}

// Takes what can be taken of the answer; true once it is whole.
static bool parse(Conn *c) {
  uint64_t now = now_ns();
  if (!c->has_head) {
    char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
    if (!end) return false;
    size_t n = (size_t)(end - c->in.data);
    c->status = n > 12 ? atoi(c->in.data + 9) : 0;
    size_t value_len = 0;
    const char *type = header(c->in.data, n, "content-type", &value_len);
    c->stream = type && value_len >= 17 && !strncasecmp(type, "text/event-stream", 17);
    c->left = content_length(c->in.data, n);
    c->chunked = header_is(c->in.data, n, "transfer-encoding", "chunked");
    c->closing = header_is(c->in.data, n, "connection", "close");
    c->decoder = (Chunked){0};
    c->has_head = true;
    drop_front(&c->in, n + 4);
  }
  if (c->chunked) {
    drop_front(&c->in, dechunk(&c->decoder, c->in.data, c->in.len, &c->body));
  } else {
    append(&c->body, c->in.data, c->in.len);
    c->in.len = 0;
  }
  if (c->body.len && !c->first_ns) c->first_ns = now;
  if (c->stream) take_events(c, now);
  if (c->chunked) return c->decoder.state == DONE;
  return c->left >= 0 && c->body.len >= (size_t)c->left;
}

static void handle(Conn *c, uint32_t what) {
  if (c->connecting && what & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
    int e = 0;
    socklen_t len = sizeof e;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len);
    errno = e;
    if (e) die("connect");
    c->connecting = false;
  }
  if (what & EPOLLOUT) {
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
    if (c->waiting && !push(c)) {
      broken(c, "cannot send");
      return;
    }
  }
  if (!(what & (EPOLLIN | EPOLLERR | EPOLLHUP))) return;
  for (;;) {
    reserve(&c->in, 65536);
    size_t room = c->in.cap - c->in.len;
    ssize_t n = recv(c->fd, c->in.data + c->in.len, room, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      broken(c, n ? "connection reset" : "closed");
      return;
    }
    c->in.len += (size_t)n;
    if (parse(c)) {
      complete(c);
      return;
    }
    if ((size_t)n < room) return;
  }
}

int main(int argc, char **argv) {
  path = option(argc, argv, "path", "/v1/chat/completions");
  clients = atoi(option(argc, argv, "clients", "1"));
  address = loopback(option(argc, argv, "port", "9100"));
  head = read_all(option(argc, argv, "head", "/dev/null"));
  tail = read_all(option(argc, argv, "tail", "/dev/null"));
  extra = read_all(option(argc, argv, "extra", "/dev/null"));
  users = read_lines(option(argc, argv, "users", "/dev/null"));
  questions = read_lines(option(argc, argv, "questions", "/dev/null"));
  replies = read_lines(option(argc, argv, "reply", "/dev/null"));
  turns = strtoull(option(argc, argv, "turns", "4"), NULL, 10);
  offset = strtoull(option(argc, argv, "offset", "0"), NULL, 10);
  salt = strtoull(option(argc, argv, "salt", "0"), NULL, 10);
  want_bytes = strtoull(option(argc, argv, "bytes", "0"), NULL, 10);
  want_events = strtoull(option(argc, argv, "events", "0"), NULL, 10);
  each = strtoull(option(argc, argv, "each", "0"), NULL, 10);
  double seconds = atof(option(argc, argv, "seconds", "3"));
  if (!users.count || !turns || clients < 1) errno = EINVAL, die("users, turns, clients");

  epoll_fd = epoll_create1(0);
  Conn *conns = calloc((size_t)clients, sizeof *conns);
  uint64_t begin = now_ns();
  deadline = begin + (uint64_t)(seconds * 1e9);
  if (each) deadline = UINT64_MAX;
  for (int i = 0; i < clients; i++) {
    conns[i].index = i;
    connect_to(&conns[i]);
    open_conns++;
    next_request(&conns[i]);
  }
  struct epoll_event events[256];
  while (open_conns) {
    int k = epoll_wait(epoll_fd, events, 256, 30000);
    if (!k) errno = ETIMEDOUT, die("no answer for 30 s");
    for (int i = 0; i < k; i++) {
      Conn *c = events[i].data.ptr;
      if (c->fd >= 0) handle(c, events[i].events);
    }
  }
  double took = (double)(now_ns() - begin) / 1e9;
  uint64_t had = 0;
  for (int i = 0; i < clients; i++) {
    uint64_t v = (conns[i].visits + users_of(&conns[i]) - 1) / users_of(&conns[i]);
    if (v > had) had = v;
  }
  printf("{\"requests\":%llu,\"errors\":%llu,\"reconnects\":%llu,\"seconds\":%.6f,\"turns\":%llu",
         (unsigned long long)completed, (unsigned long long)errors,
         (unsigned long long)reconnects, took, (unsigned long long)had);
  printf(",\"events\":%llu,\"events_min\":%llu,\"events_max\":%llu,\"bytes_min\":%llu,"
         "\"bytes_max\":%llu",
         (unsigned long long)event_total, (unsigned long long)(completed ? event_min : 0),
         (unsigned long long)event_max, (unsigned long long)(completed ? bytes_min : 0),
         (unsigned long long)bytes_max);
  print_samples("latency", &latency);
  print_samples("first_byte", &first_byte);
  print_samples("event_delay", &event_delay);
  printf(",\"first_error\":");
  print_text(first_error);
  printf("}\n");
  return 0;
}
