//! IAM policies. See `tests/fuzz/targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyround::targets::policies(data));
