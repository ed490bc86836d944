/* Counts the inserts into each collection: every one becomes {_id, namespace, count}. The counts are those of this
 * instance, as an example of state in memory: a restart begins anew, and each lane has its own. */
#include "oplet.h"

OPLET_MODULE

enum { COLLECTIONS_MAX = 64, NAME_MAX = 256 };

static struct {
  char name[NAME_MAX];
  int64_t count;
} collections[COLLECTIONS_MAX];

static int is_equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

/* The counter of a collection, a fresh one at the first insert; NULL when there are too many of them. */
static int64_t *counter(const char *name) {
  if (oplet_length(name) >= NAME_MAX) return NULL;
  for (int i = 0; i < COLLECTIONS_MAX; i++) {
    char *known = collections[i].name;
    if (!*known) {
      for (uint32_t at = 0; name[at]; at++) known[at] = name[at];
    }
    if (is_equal(known, name)) return &collections[i].count;
  }
  return NULL;
}

OPLET_EXPORT(filter) int32_t filter(const uint8_t *op, uint32_t length) {
  (void)length;
  const char *operation = oplet_string_field(op, "operation");
  return operation && is_equal(operation, "i") ? OPLET_KEEP : OPLET_DROP;
}

OPLET_EXPORT(handle) int32_t handle(const uint8_t *op, uint32_t length) {
  (void)length;
  static const char too_many[] = "there are too many collections, or one has too long a name";
  const char *id = oplet_string_field(op, "opId");
  const char *namespace = oplet_string_field(op, "namespace");
  int64_t *count = id && namespace ? counter(namespace) : NULL;
  if (!count) {
    oplet_fail(too_many, sizeof too_many - 1);
    return OPLET_REJECT;
  }
  uint8_t bytes[1024];
  struct oplet_writer writer = oplet_begin(bytes, sizeof bytes);
  oplet_put_string(&writer, "_id", id);
  oplet_put_string(&writer, "namespace", namespace);
  oplet_put_i64(&writer, "count", ++*count);
  oplet_emit(0, bytes, oplet_end(&writer));
  oplet_count("inserts", sizeof "inserts" - 1, 1);
  return OPLET_DONE;
}
