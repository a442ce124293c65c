//! The body of an upload, handed out little by little.

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Bytes that are written to the connection in one go.
const FRAME_BYTES: usize = 64 << 10;
/// How long a gentle upload waits before it writes again: a part of 8 MiB in one go keeps a processor busy for some
/// milliseconds, and holds up the requests that are answered by the same thread.
const GAP: Duration = Duration::from_millis(4);

struct Frames {
    rest: Bytes,
    is_gentle: bool,
    gap: Option<Pin<Box<Sleep>>>,
}

/// A body that can be sent again.
pub(crate) fn in_frames(content: Bytes, is_gentle: bool) -> ByteStream {
    ByteStream::new(SdkBody::retryable(move || {
        SdkBody::from_body_1_x(Frames { rest: content.clone(), is_gentle, gap: None })
    }))
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(gap) = &mut self.gap {
            ready!(gap.as_mut().poll(context));
        }
        self.gap = self.is_gentle.then(|| Box::pin(sleep(GAP)));
        let bytes = self.rest.len().min(FRAME_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
