//! The bodies of replies.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// What is read of a file at a time.
const PIECE: u64 = 64 * 1024;

/// A body whose length is known.
pub(super) enum Content {
    /// Text that was made for this reply.
    Text(Option<Bytes>),
    /// So many bytes of a file, from where it stands.
    File(File, u64),
}

impl Content {
    pub(super) fn empty() -> Self {
        Content::Text(None)
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    /// A file that has become shorter is an error: the length has been promised.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Content::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::File(_, 0) => Poll::Ready(None),
            Content::File(file, left) => {
                let mut piece = vec![0; usize::try_from(PIECE.min(*left)).unwrap_or_default()];
                let mut buf = ReadBuf::new(&mut piece);
                ready!(Pin::new(file).poll_read(cx, &mut buf))?;
                let count = buf.filled().len();
                if count == 0 {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                *left -= count as u64;
                piece.truncate(count);
                Poll::Ready(Some(Ok(Frame::data(piece.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Content::Text(None) | Content::File(_, 0))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Content::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            Content::File(_, left) => *left,
        })
    }
}
