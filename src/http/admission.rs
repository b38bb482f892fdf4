//! How many requests are answered at once. The rest is told to come again, before it costs anything.
//!
//! Two counters, so that a storm of new shapes does not lock out those who only wait for news. A
//! request counts as *initial* unless it names a shape that exists. Its permit is held until its
//! body is sent; once its snapshot has begun it is exchanged for one of the other kind.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;
use crate::config::RequestLimits;
use crate::limits::{ANSWER_MAX, OVERLOAD_PAUSE};

/// The counters; cheap to clone.
#[derive(Clone)]
pub struct Admission {
    limits: RequestLimits,
    initial: Arc<Semaphore>,
    existing: Arc<Semaphore>,
}

/// Leave to answer one request.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// Nobody is in yet.
    #[must_use]
    pub fn new(limits: RequestLimits) -> Admission {
        Admission {
            limits,
            initial: Arc::new(Semaphore::new(limits.initial)),
            existing: Arc::new(Semaphore::new(limits.existing)),
        }
    }

    /// Lets a request in; `existing` if it names a shape that exists.
    pub fn enter(&self, existing: bool) -> Result<Permit, Refusal> {
        let (kind, limit, counter) = if existing {
            ("existing", self.limits.existing, &self.existing)
        } else {
            ("initial", self.limits.initial, &self.initial)
        };
        let permit = Arc::clone(counter).try_acquire_owned();
        // Spread, so that those who were turned away do not come back at once.
        let (pause, spread) = OVERLOAD_PAUSE;
        let refused = |_| {
            metrics::counter!("electric_admission_control_reject_count", "kind" => kind)
                .increment(1);
            Refusal::Overloaded(kind, limit, pause + (super::fresh() % u64::from(spread)) as u32)
        };
        permit.map(|_permit| Permit { _permit }).map_err(refused)
    }

    /// The snapshot has begun: makes room for other new shapes, if there is room for this request
    /// elsewhere.
    pub fn exchange(&self, permit: &mut Permit) {
        if let Ok(other) = Arc::clone(&self.existing).try_acquire_owned() {
            *permit = Permit { _permit: other };
        }
    }

    /// Requests that are being answered, of each kind.
    #[must_use]
    pub fn current(&self) -> [(&'static str, usize, usize); 2] {
        let used = |limit: usize, counter: &Semaphore| limit - counter.available_permits();
        let RequestLimits { initial, existing } = self.limits;
        [
            ("initial", used(initial, &self.initial), initial),
            ("existing", used(existing, &self.existing), existing),
        ]
    }
}

impl Permit {
    /// Holds the permit until the response is sent or dropped. One that is not sent for very long is cut.
    #[must_use]
    pub fn hold(self, response: Response) -> Response {
        let until = Instant::now() + ANSWER_MAX;
        response.map(|body| Body::new(Held { body, until, _permit: self }))
    }
}

struct Held {
    body: Body,
    until: Instant,
    _permit: Permit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        // Looked at when there is room for more: whoever takes nothing is cut off sooner, by the socket.
        if Instant::now() > self.until {
            let error = std::io::Error::new(ErrorKind::TimedOut, "an answer is taken too slowly");
            return Poll::Ready(Some(Err(axum::Error::new(error))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_taken_for_too_long_is_cut_and_its_place_given_back() {
        let admission = Admission::new(RequestLimits { initial: 1, existing: 1 });
        let permit = admission.enter(true).map_err(|_| "full").unwrap();
        let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x")));
        let until = Instant::now() + ANSWER_MAX;
        let mut held = Held { body: Body::from_stream(pieces), until, _permit: permit };
        assert!(held.frame().await.unwrap().is_ok());
        assert_eq!(admission.current()[1].1, 1);
        held.until = Instant::now();
        assert!(held.frame().await.unwrap().is_err(), "it is sent for ever");
        drop(held);
        assert_eq!(admission.current()[1].1, 0);
    }
}
