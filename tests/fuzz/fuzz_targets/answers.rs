//! The answers of vendors. See `tests/fuzz/targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyround::targets::answers(data));
