//! Stands before the services: what a release or a configuration does not offer, and answers that break off.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use prost::bytes::{Buf as _, Bytes};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// A release of Xray.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u16, pub u16, pub u16);

/// The one the facts were measured on.
pub(super) const MEASURED: Release = Release(26, 10, 10);

/// Calls that are not as old as the service, and the first release with them.
const SINCE: [(&str, Release); 5] = [
    ("GetInboundUsers", Release(24, 11, 5)),
    ("GetStatsOnlineIpList", Release(25, 2, 18)),
    ("ListInbounds", Release(25, 6, 8)),
    ("GetAllOnlineUsers", Release(26, 1, 13)),
    ("GetUsersStats", Release(26, 4, 13)),
];

/// What is offered.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) release: Release,
    /// Short names, such as `StatsService`.
    pub(super) services: Vec<String>,
}

impl Offer {
    /// The refusal of a call that is not offered, in the words of Go's gRPC.
    fn refusal(&self, path: &str) -> Option<Status> {
        let (service, method) = path.trim_start_matches('/').split_once('/')?;
        let short = service.rsplit('.').next()?;
        if !self.services.iter().any(|offered| offered == short) {
            return Some(Status::unimplemented(format!("unknown service {service}")));
        }
        let since = SINCE.iter().find(|(name, _)| *name == method).map_or(Release(1, 8, 0), |(_, since)| *since);
        (self.release < since).then(|| Status::unimplemented(format!("unknown method {method} for service {service}")))
    }
}

/// Where an answer breaks off; put into its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// After so many bytes its stream is reset.
    Reset(usize),
    /// After so many bytes it ends with a closing status of OK.
    End(usize),
}

/// The services behind the gate.
#[derive(Debug, Clone)]
pub(super) struct Gate<S> {
    pub(super) inner: S,
    pub(super) offer: Offer,
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(status) = self.offer.refusal(request.uri().path()) {
            return Box::pin(std::future::ready(Ok(status.into_http())));
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            let body = match head.extensions.get::<Cut>() {
                Some(&cut) => Body::new(CutBody { inner: body, cut, ended: false }),
                None => body,
            };
            Ok(Response::from_parts(head, body))
        })
    }
}

/// A body that breaks off.
struct CutBody {
    inner: Body,
    cut: Cut,
    ended: bool,
}

impl HttpBody for CutBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let (Cut::Reset(left) | Cut::End(left)) = &mut this.cut;
        if *left > 0 {
            let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
            if let Some(Ok(frame)) = frame
                && let Ok(mut bytes) = frame.into_data()
            {
                let taken = bytes.remaining().min(*left);
                *left -= taken;
                return Poll::Ready(Some(Ok(Frame::data(bytes.split_to(taken)))));
            }
            // The answer was shorter than the cut, which is then right behind it.
        }
        this.ended = true;
        Poll::Ready(Some(match this.cut {
            Cut::Reset(_) => Err(Status::internal("cut")),
            Cut::End(_) => Ok(Frame::trailers(ok())),
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn ok() -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    trailers
}
