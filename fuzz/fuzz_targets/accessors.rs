//! What a handler reads of an op: see [`oplet_fuzz::accessors`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oplet_fuzz::both_ways(bytes, oplet_fuzz::accessors));
