//! What the host believes of a guest's documents: see [`oplet_fuzz::validate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oplet_fuzz::both_ways(bytes, oplet_fuzz::validate));
