//! The rotation machine, under any events and in any world. See `tests/fuzz/targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyround::targets::rotations(data));
