#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| wsproto::fuzzing::frames_rfc6455_base64(data));
