#![forbid(unsafe_code)]
//! The server side of WebSocket without I/O, as a pair of byte streams: bytes in, bytes and events out.
//!
//! Three dialects are spoken, told apart by the client's request alone: hixie-75, hixie-76 (= hybi-00) and RFC 6455
//! (versions 13, 8 and 7). See [`Dialect`] and [`Encoding`] for how the bytes of the stream travel in each.
//!
//! # Contract
//!
//! Nothing here owns a descriptor, a clock or a source of randomness; no method blocks, and none panics whatever a peer
//! sends. Memory is bounded: a [`Handshake`] holds at most the head limit, a [`Receiver`] and a [`Sender`] hold no heap
//! at all. What a frame announces is never reserved.
//!
//! Methods come in four kinds, named so: getters; `receive*` (bytes from the network); `take_*`, `queue_*` and `close`
//! (the application's side); `transmit*` (bytes to the network, each preparation followed by its `transmitted*`).
//!
//! # Calling order
//!
//! 1. [`Handshake::receive`] with what the network brings, until it is accepted or refused. The reply is sent in full.
//! 2. A [`Receiver`] and a [`Sender`] are made for the dialect and encoding accepted. They share nothing.
//! 3. Receiving: [`Receiver::receive`], or [`Receiver::receive_verbatim`] for bytes that lie in place. After each call
//!    [`Receiver::take_pong`] moves a pong to [`Sender::queue_pong`], and [`Receiver::end`] tells whether the stream is
//!    over; then [`Sender::close`] with [`End::reply_code`].
//! 4. Sending: one of [`Sender::transmit_head`], [`Sender::transmit_encoded`] and [`Sender::transmit_control`], then the
//!    system call, then [`Sender::transmitted`] or [`Sender::transmitted_encoded`] with what the kernel took.
//!
//! 5. Between any two calls a [`Receiver`] and a [`Sender`] can be handed to another process: [`Handover`].
//!
//! ```
//! use wsproto::{Handshake, Policy, Progress, Receiver, Sender};
//!
//! let request = b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
//!     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
//! let mut reply = Vec::new();
//! let (taken, progress) = Handshake::new().receive(request, &Policy::default(), &mut reply);
//! let Progress::Accepted(accepted) = progress else { unreachable!("a request from the RFC") };
//! assert_eq!(taken, request.len());
//! assert!(reply.starts_with(b"HTTP/1.1 101 "));
//!
//! // The client sends "Hello", masked (RFC 6455 section 5.7).
//! let mut receiver = Receiver::new(accepted.dialect, accepted.encoding);
//! let mut input = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let mut out = [0; 64];
//! let received = receiver.receive(&mut input, &mut out);
//! assert_eq!((received.consumed, &out[..received.produced]), (11, &b"Hello"[..]));
//!
//! // The server answers "Hello", and the kernel takes the header and two bytes of it.
//! let mut sender = Sender::new(accepted.dialect, accepted.encoding);
//! let (head, count) = sender.transmit_head(5);
//! assert_eq!((head.as_slice(), count), (&[0x82, 5][..], 5));
//! assert_eq!(sender.transmitted(4), 2);
//! // The next bytes fill the frame, whatever they are.
//! assert_eq!(sender.transmit_head(100).1, 3);
//! ```

mod base64;
mod close;
mod dialect;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod handshake;
mod inline;
mod mask;
pub mod question;
mod receive;
mod send;
mod state;
mod violation;

pub use close::CloseReason;
pub use dialect::{Dialect, Dialects, DialectsError, Encoding};
pub use handover::{Encoded, Handover};
pub use handshake::{Accepted, Handshake, KeyFault, Origin, OriginError, Policy, Progress, Refusal};
pub use receive::{End, Pong, Received, Receiver};
pub use send::{Head, Sender};
pub use violation::Violation;
