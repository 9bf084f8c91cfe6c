//! A request in pieces comes to what the same request comes to as a whole.

use super::Choices;
use crate::{Dialect, Handshake, Policy, Progress};

/// Bytes: policy, number of pieces, the pieces' lengths, the request.
pub fn request_head(data: &[u8]) {
    let mut choices = Choices::new(data);
    let policy = policy(choices.byte());
    let count = usize::from(choices.byte() & 0x0f);
    let (mut lengths, request) = choices.split(count);

    let mut reply = Vec::new();
    let mut handshake = Handshake::new();
    let (taken, progress) = handshake.receive(request, &policy, &mut reply);
    check(request, taken, &progress, &reply, &policy);
    if progress != Progress::Incomplete {
        assert_eq!(handshake.receive(request, &policy, &mut Vec::new()), (0, Progress::Incomplete));
    }

    let mut pieces = Vec::new();
    while !lengths.is_empty() {
        pieces.push(usize::from(lengths.byte()));
    }
    assert_eq!(feed(request, &policy, pieces), (taken, progress.clone(), reply.clone()));
    if request.len() <= 2 * policy.head_limit {
        assert_eq!(feed(request, &policy, vec![1; request.len()]), (taken, progress, reply));
    }
}

fn policy(choice: u8) -> Policy {
    let dialects = [Dialect::Hixie75, Dialect::Hixie76, Dialect::Rfc6455];
    Policy {
        dialects: dialects
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| choice >> bit & 1 == 0)
            .map(|(_, it)| it)
            .collect(),
        origins: if choice & 8 == 0 { Vec::new() } else { "http://example.com".parse().into_iter().collect() },
        secure: choice & 16 != 0,
        head_limit: if choice & 32 == 0 { 8192 } else { 100 },
    }
}

/// Feeds `request` in pieces of these lengths, and then its rest. What of a refused request is taken depends on the
/// pieces, and is told as of the whole.
fn feed(request: &[u8], policy: &Policy, pieces: Vec<usize>) -> (usize, Progress, Vec<u8>) {
    let (mut handshake, mut reply, mut taken) = (Handshake::new(), Vec::new(), 0);
    for piece in pieces.into_iter().chain([request.len()]) {
        let rest = &request[taken..];
        let piece = &rest[..piece.min(rest.len())];
        let (count, progress) = handshake.receive(piece, policy, &mut reply);
        assert!(count <= piece.len());
        taken += count;
        match progress {
            Progress::Incomplete => assert_eq!((count, reply.len()), (piece.len(), 0)),
            Progress::Accepted(_) => return (taken, progress, reply),
            Progress::Refused(_) => {
                let whole = Handshake::new().receive(request, policy, &mut Vec::new()).0;
                return (whole, progress, reply);
            }
        }
    }
    (taken, Progress::Incomplete, reply)
}

fn check(request: &[u8], taken: usize, progress: &Progress, reply: &[u8], policy: &Policy) {
    assert!(taken <= request.len());
    match progress {
        Progress::Incomplete => assert_eq!((taken, reply.len()), (request.len(), 0)),
        Progress::Accepted(accepted) => {
            assert!(reply.starts_with(b"HTTP/1.1 101 "));
            assert!(policy.dialects.contains(accepted.dialect));
            let texts = [Some(&accepted.path), Some(&accepted.host), accepted.origin.as_ref()];
            for text in texts.into_iter().flatten() {
                assert!(text.len() <= policy.head_limit && text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
        }
        Progress::Refused(refusal) => {
            let text = String::from_utf8(reply.to_vec()).expect("a refusal is text");
            assert!(text.starts_with(&format!("HTTP/1.1 {} ", refusal.status())));
            assert!(text.ends_with(&format!("\r\n\r\n{refusal}\n")));
            assert!(!refusal.to_string().contains('\n'));
        }
    }
}
