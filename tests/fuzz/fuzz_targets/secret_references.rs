//! References to secrets, and what was pasted instead. See `tests/fuzz/targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyround::targets::secret_references(data));
