//! Streams that are looked at on their way. Those that nobody looks at are not wrapped, and cost nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Who looks. It is called where bytes move, so it never waits.
pub trait Watch {
    /// The stream brought `bytes`.
    fn read(&mut self, bytes: &[u8]);

    /// The stream took these bytes, which may be some of a write.
    fn wrote(&mut self, bytes: &[u8]);

    /// It took all of a write, or only a part.
    fn write_ended(&mut self, whole: bool);
}

impl<W: Watch> Watch for Option<W> {
    fn read(&mut self, bytes: &[u8]) {
        if let Some(watch) = self {
            watch.read(bytes);
        }
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if let Some(watch) = self {
            watch.wrote(bytes);
        }
    }

    fn write_ended(&mut self, whole: bool) {
        if let Some(watch) = self {
            watch.write_ended(whole);
        }
    }
}

impl<V: Watch, W: Watch> Watch for (V, W) {
    fn read(&mut self, bytes: &[u8]) {
        self.0.read(bytes);
        self.1.read(bytes);
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.0.wrote(bytes);
        self.1.wrote(bytes);
    }

    fn write_ended(&mut self, whole: bool) {
        self.0.write_ended(whole);
        self.1.write_ended(whole);
    }
}

/// A stream, and who looks at it.
pub struct Watched<T, W> {
    stream: T,
    watch: W,
}

impl<T, W> Watched<T, W> {
    /// `stream`, looked at by `watch`.
    pub fn new(stream: T, watch: W) -> Self {
        Watched { stream, watch }
    }
}

impl<T: AsyncRead + Unpin, W: Watch + Unpin> AsyncRead for Watched<T, W> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(bytes @ [_, ..]) = buf.filled().get(before..) {
            this.watch.read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin, W: Watch + Unpin> AsyncWrite for Watched<T, W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.watch.wrote(buf.get(..count).unwrap_or_default());
        this.watch.write_ended(count == buf.len());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, bufs))?;
        let mut left = count;
        for part in bufs {
            let taken = part.get(..left.min(part.len())).unwrap_or_default();
            left -= taken.len();
            this.watch.wrote(taken);
        }
        this.watch.write_ended(count == bufs.iter().map(|part| part.len()).sum::<usize>());
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
