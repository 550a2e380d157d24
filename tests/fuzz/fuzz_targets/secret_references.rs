//! References to secrets, and texts that were pasted in their place. See `tests/fuzz/targets/`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| keyround::targets::secret_references(data));
