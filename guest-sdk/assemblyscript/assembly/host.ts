// The host's functions. Text is UTF-8, a document BSON; both are given by address and length, and the host keeps nothing.

@external("oplet", "sink")
export declare function sink(name: usize, nameLength: i32): i32;

@external("oplet", "emit")
export declare function emit(sink: i32, document: usize, documentLength: i32): i32;

@external("oplet", "log")
export declare function log(level: i32, line: usize, lineLength: i32): void;

@external("oplet", "fail")
export declare function fail(reason: usize, reasonLength: i32): void;

@external("oplet", "retry_after")
export declare function retryAfter(ms: i64): void;

@external("oplet", "count")
export declare function count(name: usize, nameLength: i32, delta: i64): void;

@external("oplet", "lookup")
export declare function lookup(query: usize, queryLength: i32): i32;

@external("oplet", "reply")
export declare function reply(buffer: usize, capacity: i32): i32;
