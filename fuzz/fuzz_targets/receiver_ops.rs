#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| wsproto::fuzzing::receiver_ops(data));
