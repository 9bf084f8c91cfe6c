//! Hostile clients and long runs: good clients are served in time and get what they sent, and what the server uses is bounded
//! and comes back.

mod attacks;
mod good;
mod hostile;
mod long;
