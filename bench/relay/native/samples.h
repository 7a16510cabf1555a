// Samples of the load generator: kept whole, sorted at the end, printed as JSON in microseconds.
#ifndef RELAY_SAMPLES_H
#define RELAY_SAMPLES_H

#include "http.h"

typedef struct {
  uint64_t *data;
  size_t len, cap;
} Samples;

static inline void sample(Samples *s, uint64_t value) {
  if (s->len == s->cap) {
    s->cap = s->cap ? s->cap * 2 : 65536;
    if (!(s->data = realloc(s->data, s->cap * sizeof *s->data))) die("realloc");
  }
  s->data[s->len++] = value;
}

static inline int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static inline void print_samples(const char *name, Samples *s) {
  if (s->len) qsort(s->data, s->len, sizeof *s->data, ascending);
  static const struct { const char *name; double q; } Q[] = {
      {"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"max", 1}};
  double sum = 0;
  for (size_t i = 0; i < s->len; i++) sum += (double)s->data[i];
  printf(",\"%s\":{\"count\":%zu,\"mean\":%.2f", name, s->len,
         s->len ? sum / (double)s->len / 1e3 : 0);
  for (int i = 0; i < 5; i++) {
    size_t at = s->len ? (size_t)(Q[i].q * (double)(s->len - 1) + .5) : 0;
    printf(",\"%s\":%.2f", Q[i].name, s->len ? (double)s->data[at] / 1e3 : 0);
  }
  printf("}");
}

static inline void print_text(const char *s) {
  putchar('"');
  for (; *s; s++)
    if (*s == '"' || *s == '\\') printf("\\%c", *s);
    else if ((unsigned char)*s < 32 || (unsigned char)*s > 126) printf("?");
    else putchar(*s);
  putchar('"');
}

#endif
