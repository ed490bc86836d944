/* The guest ABI of Oplet, version 1, for C and C++. One header, no library, no allocation but for the region that the
 * host writes ops into. Build with clang:
 *
 *   clang --target=wasm32 -O2 -mbulk-memory -nostdlib -Wl,--no-entry -Wl,--max-memory=67108864 -o name.wasm name.c
 *
 * A module has OPLET_MODULE once, and defines one or more of
 *
 *   OPLET_EXPORT(filter) int32_t filter(const uint8_t *op, uint32_t length);     OPLET_KEEP, ...
 *   OPLET_EXPORT(handle) int32_t handle(const uint8_t *op, uint32_t length);     OPLET_DONE, ...
 *   OPLET_EXPORT(pipeline) uint64_t pipeline(const uint8_t *question, uint32_t length);
 *   OPLET_EXPORT(oplet_configure) int32_t oplet_configure(const uint8_t *config, uint32_t length);
 *   OPLET_EXPORT(oplet_flush) int32_t oplet_flush(void);
 *   OPLET_EXPORT(oplet_save) uint64_t oplet_save(void);
 *   OPLET_EXPORT(oplet_restore) int32_t oplet_restore(const uint8_t *state, uint32_t length);
 *   OPLET_EXPORT(oplet_tick) int32_t oplet_tick(int64_t now_ms);
 *
 * Every document is BSON, and good for the duration of the call. */
#ifndef OPLET_H
#define OPLET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OPLET_EXPORT(name) __attribute__((export_name(#name)))
#define OPLET_IMPORT(name) __attribute__((import_module("oplet"), import_name(#name)))

/* What `filter` answers. OPLET_ASK_AGAIN is for an op with `pending: true`, whose `data` was looked for and is not there
 * yet: the host fetches the document and asks again. */
enum { OPLET_DROP = 0, OPLET_KEEP = 1, OPLET_ASK_AGAIN = 2 };
/* What `handle` and `oplet_flush` answer. */
enum { OPLET_DONE = 0, OPLET_RETRY = 1, OPLET_REJECT = 2, OPLET_RETRY_AFTER = 3 };
/* What `oplet_emit` answers. */
enum { OPLET_TAKEN = 0, OPLET_NO_SUCH_SINK = 1, OPLET_OVER_LIMIT = 2, OPLET_NOT_BSON = 3 };
/* Levels of `oplet_log`. */
enum { OPLET_ERROR = 1, OPLET_WARN = 2, OPLET_INFO = 3, OPLET_DEBUG = 4, OPLET_TRACE = 5 };

/* The number of a sink by its name, -1 if there is none; 0 is the default. Ask once. */
OPLET_IMPORT(sink) int32_t oplet_sink(const char *name, uint32_t length);
/* Hands a document to a sink. It is delivered when `handle` answers OPLET_DONE. */
OPLET_IMPORT(emit) int32_t oplet_emit(int32_t sink, const uint8_t *document, uint32_t length);
/* A log line, in UTF-8. */
OPLET_IMPORT(log) void oplet_log(int32_t level, const char *line, uint32_t length);
/* The reason for OPLET_RETRY, OPLET_REJECT, or a refused configuration. */
OPLET_IMPORT(fail) void oplet_fail(const char *reason, uint32_t length);
/* The delay for OPLET_RETRY_AFTER. */
OPLET_IMPORT(retry_after) void oplet_retry_after(int64_t ms);
/* Adds to a counter of the module's own: [a-z0-9_]{1,64}. */
OPLET_IMPORT(count) void oplet_count(const char *name, uint32_t length, int64_t delta);
/* Asks MongoDB `{namespace, filter, projection?, limit?}`, where that is granted; gives the length of the answer
 * `{documents: [...]}`, which `oplet_reply` copies. */
OPLET_IMPORT(lookup) int32_t oplet_lookup(const uint8_t *question, uint32_t length);
OPLET_IMPORT(reply) int32_t oplet_reply(uint8_t *into, uint32_t capacity);

/* A document as `pipeline` and `oplet_save` return it; it stays valid until the next call. 0 is none. */
static inline uint64_t oplet_pack(const uint8_t *document, uint32_t length) {
  return ((uint64_t)(uintptr_t)document << 32) | length;
}

/* The version marker, and room for inputs. The region grows at the end of memory; what was the region before is lost,
 * which is why it doubles. */
#define OPLET_MODULE                                                                                   \
  OPLET_EXPORT(oplet_abi_v1) void oplet_abi_v1(void) {}                                                \
  OPLET_EXPORT(oplet_alloc) void *oplet_alloc(uint32_t length) {                                       \
    static uint8_t first[65536] __attribute__((aligned(8)));                                           \
    static uint8_t *region = first;                                                                    \
    static uint32_t capacity = sizeof first;                                                           \
    if (length > capacity) {                                                                           \
      uint32_t wanted = length > 2 * capacity ? length : 2 * capacity;                                 \
      uint32_t pages = wanted / 65536 + (wanted % 65536 != 0);                                         \
      size_t end = __builtin_wasm_memory_grow(0, pages);                                               \
      if (end == (size_t)-1) return 0; /* the op fails, the module lives on */                         \
      region = (uint8_t *)(end * 65536);                                                               \
      capacity = pages * 65536;                                                                        \
    }                                                                                                  \
    return region;                                                                                     \
  }

/* Reading BSON, as much as a filter needs. An element is its type byte, its name, a zero byte, its value. */

enum { OPLET_DOUBLE = 0x01, OPLET_STRING = 0x02, OPLET_DOCUMENT = 0x03, OPLET_ARRAY = 0x04, OPLET_BOOL = 0x08,
       OPLET_DATE = 0x09, OPLET_NULL = 0x0A, OPLET_INT32 = 0x10, OPLET_TIMESTAMP = 0x11, OPLET_INT64 = 0x12 };

static inline int32_t oplet_read_i32(const uint8_t *at) {
  return (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

static inline uint32_t oplet_length(const char *text) {
  uint32_t length = 0;
  while (text[length]) length++;
  return length;
}

/* The bytes of a value, or -1 if the type is none that this header knows. */
static inline int32_t oplet_value_length(uint8_t type, const uint8_t *value) {
  switch (type) {
    case 0x06: case 0x0A: case 0x7F: case 0xFF: return 0;
    case OPLET_BOOL: return 1;
    case OPLET_INT32: return 4;
    case OPLET_DOUBLE: case OPLET_DATE: case OPLET_TIMESTAMP: case OPLET_INT64: return 8;
    case 0x07: return 12;
    case 0x13: return 16;
    case OPLET_STRING: case 0x0D: case 0x0E: return 4 + oplet_read_i32(value);
    case OPLET_DOCUMENT: case OPLET_ARRAY: case 0x0F: return oplet_read_i32(value);
    case 0x05: return 5 + oplet_read_i32(value);
    case 0x0C: return 4 + oplet_read_i32(value) + 12;
    case 0x0B: {
      uint32_t pattern = oplet_length((const char *)value) + 1;
      return (int32_t)(pattern + oplet_length((const char *)value + pattern) + 1);
    }
    default: return -1;
  }
}

/* The value of a field of a document that the host has written, and its type; NULL if it has none of that name. */
static inline const uint8_t *oplet_field(const uint8_t *document, const char *name, uint8_t *type) {
  const uint8_t *at = document + 4;
  while (*at) {
    const char *found = (const char *)at + 1;
    const uint8_t *value = at + 2 + oplet_length(found);
    const char *sought = name;
    while (*sought && *sought == *found) sought++, found++;
    if (*sought == *found) {
      *type = *at;
      return value;
    }
    int32_t length = oplet_value_length(*at, value);
    if (length < 0) return NULL;
    at = value + length;
  }
  return NULL;
}

/* The text of a string field, ended by a zero byte, or NULL. */
static inline const char *oplet_string_field(const uint8_t *document, const char *name) {
  uint8_t type;
  const uint8_t *value = oplet_field(document, name, &type);
  return value && type == OPLET_STRING ? (const char *)value + 4 : NULL;
}

/* Writing BSON into memory of the caller's. What does not fit is left out, and `is_full` says so. */

struct oplet_writer {
  uint8_t *bytes;
  uint32_t capacity, length;
  int is_full;
};

static inline struct oplet_writer oplet_begin(uint8_t *bytes, uint32_t capacity) {
  struct oplet_writer writer = {bytes, capacity, 4, capacity < 5};
  return writer;
}

static inline void oplet_put(struct oplet_writer *writer, uint8_t type, const char *name, const void *value,
                             uint32_t length) {
  uint32_t name_length = oplet_length(name);
  /* One more for the end of the document. */
  if (writer->is_full || (uint64_t)writer->length + 3 + name_length + length > writer->capacity) {
    writer->is_full = 1;
    return;
  }
  uint8_t *at = writer->bytes + writer->length;
  *at++ = type;
  for (uint32_t i = 0; i <= name_length; i++) *at++ = (uint8_t)name[i];
  for (uint32_t i = 0; i < length; i++) *at++ = ((const uint8_t *)value)[i];
  writer->length += 2 + name_length + length;
}

static inline void oplet_put_i64(struct oplet_writer *writer, const char *name, int64_t value) {
  oplet_put(writer, OPLET_INT64, name, &value, 8); /* wasm is little-endian, as BSON is */
}

static inline void oplet_put_string(struct oplet_writer *writer, const char *name, const char *text) {
  uint32_t length = oplet_length(text) + 1, before = writer->length;
  oplet_put(writer, OPLET_STRING, name, &length, 4);
  if (writer->is_full || (uint64_t)writer->length + length + 1 > writer->capacity) {
    writer->is_full = 1;
    writer->length = before;
    return;
  }
  for (uint32_t i = 0; i < length; i++) writer->bytes[writer->length++] = (uint8_t)text[i];
}

/* Ends the document; gives its length, or 0 if it did not fit. */
static inline uint32_t oplet_end(struct oplet_writer *writer) {
  if (writer->is_full) return 0;
  writer->bytes[writer->length++] = 0;
  for (int i = 0; i < 4; i++) writer->bytes[i] = (uint8_t)(writer->length >> 8 * i);
  return writer->length;
}

#ifdef __cplusplus
}
#endif

#endif
